// The place-or-raise search; users take it from offsets_search.hpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "control.hpp"
#include "offsets_explained_bounds.hpp"
#include "offsets_instance.hpp"
#include "offsets_search.hpp"

namespace planner::offsets {

// Buffers that conflict with each buffer, in compressed rows.
struct ConflictGraph {
  std::vector<std::size_t> row;
  std::vector<std::int32_t> neighbour;
};

ConflictGraph conflict_graph(const Instance& instance);

// The sizes of an instance in units, chosen so that they are small integers, and the alignments
// that are left to observe (1 where every sum of sizes is aligned anyway).
struct Units {
  std::int64_t unit = 1;
  std::int64_t largest_sum = 0;  // no value in the search exceeds it by more than a factor of two
  std::vector<std::int64_t> size, alignment;
};

Units in_units(const Instance& instance);

// Place-or-raise search with explained bounds and backjumping.
//
// Any placement can be pushed down until every buffer rests on 0 or on the (aligned) top of a
// conflicting one; only such **canonical** placements are searched. Each unplaced buffer has a
// lower bound on its offset. A node takes an unplaced buffer below which no other fits and either **places** it at
// its bound or **raises** it: then it has to rest on a buffer not placed yet. A raised buffer
// **floats** until a top supports it at its bound. Each bound carries the set of placement levels
// from which it follows; if the failure of a placement does not depend on it, its other branch is
// skipped.
//
// Canonical placements, section bounds, decomposition and re-ranking follow google/minimalloc
// ("MiniMalloc: A Lightweight Memory Allocator for Hardware-Accelerated Machine Learning",
// ASPLOS 2023).
//
// Integer has to hold twice Units::largest_sum.
template <class Integer>
class PlaceOrRaise final : public PlacementSearch {
 public:
  PlaceOrRaise(const Instance& instance, const Units& units);

  Answer run(std::int64_t capacity, Configuration configuration, std::int64_t node_limit,
             Control& control) override;

  const std::vector<std::int64_t>& offsets() const override { return solution_; }
  std::int64_t nodes() const override { return nodes_; }

 private:
  using Bounds = ExplainedBounds<Integer>;
  using Word = typename Bounds::Word;
  using Reason = typename Bounds::Reason;

  // Either a node, or (splits) a sequence of independent parts. The listed buffers are the ones to
  // place; those of a node may include some that are placed already.
  struct Frame {
    bool splits;
    std::int32_t level;
    std::int32_t first_section, end_section;
    std::size_t list_begin, list_end;
    std::size_t list_restore;  // length of list_ when the frame is gone

    // Of a node.
    std::int32_t unplaced = 0;
    std::int32_t buffer = -1;
    std::size_t changes_at_entry = 0, changes_at_placement = 0;
    bool crossings_removed = false;

    // Of a sequence of parts.
    std::size_t part_begin = 0, part_end = 0;
    std::size_t saved_ranks = 0;
  };

  enum class Signal { kEnter, kPlaced, kImpossible, kStopped };

  void reset(std::int64_t capacity);
  Signal resume_parts(Signal signal);
  Signal resume_node(Signal signal);
  void push_node(std::int32_t level, std::int32_t first_section, std::int32_t end_section,
                 std::size_t list_begin, std::size_t list_end, std::int32_t unplaced,
                 std::size_t list_restore);
  void push_parts(const Frame& parent, std::int32_t level);
  bool open_part(Frame& frame);
  void close_part(const Frame& frame);
  Signal descend();
  Signal leave_node(Signal signal);
  bool place(Frame& frame);
  void unplace(Frame& frame);
  bool refute(Frame& frame);
  bool remove_crossings(Frame& frame);

  std::int32_t buffer_to_decide(const Frame& frame);
  std::int32_t lowest_buffer(const Frame& frame) const;
  bool lies_lower(std::int32_t buffer, std::int32_t other) const;
  std::int32_t critical_section(const Frame& frame);
  std::int32_t lowest_around(const Frame& frame, std::int32_t section) const;
  void count_failure(std::int32_t section);
  void rank_part(std::size_t begin, std::size_t end);
  bool raise(std::int32_t buffer, const Word* refutation);
  bool propagate(const Frame& frame);
  bool settle_floating(const Frame& frame);
  bool settle_jointly();
  template <class InGroup>
  void explain_group_member(std::int32_t buffer, Integer raised, InGroup in_group);
  bool sections_hold(const Frame& frame);

  Integer aligned(std::int32_t buffer, Integer value) const {
    return round_up(value, alignment_[index(buffer)]);
  }
  bool placed(std::int32_t buffer) const { return offset_[index(buffer)] >= 0; }
  Integer fullest_section(std::int32_t buffer) const;
  void touch(std::int32_t buffer);
  Reason why(std::int32_t buffer, Integer bound) const {
    return bounds_.why(buffer, bound, width_);
  }
  void set_conflict(Reason reason);
  static std::size_t index(std::int32_t i) { return static_cast<std::size_t>(i); }

  // The instance.
  const Instance& instance_;
  ConflictGraph conflicts_;
  std::int64_t unit_;
  std::size_t buffers_, sections_, words_;
  std::vector<Integer> size_, alignment_, section_total_;

  // One run.
  Configuration configuration_{};
  std::int64_t node_limit_ = 0, nodes_ = 0;
  Control* control_ = nullptr;
  Integer capacity_ = 0;                // for all but the buffers that may overhang it by one unit
  std::vector<Integer> highest_offset_;  // that a buffer may have
  std::vector<std::int32_t> overhanging_;
  std::vector<std::int32_t> may_overhang_;  // 0 or 1 for each buffer
  std::vector<std::int64_t> solution_;

  // Learnt by all runs so far: where they failed.
  std::vector<double> failures_;  // weighted count of each section, at least 1
  double failure_weight_ = 1;     // of the next one

  // Where the search is.
  std::vector<Frame> frames_;
  std::vector<std::int32_t> list_, saved_ranks_;
  std::vector<Integer> offset_;  // -1 if not placed
  std::vector<std::int32_t> level_, rank_;
  std::vector<Integer> total_;           // unplaced size in each section
  std::vector<std::int32_t> overhangs_;  // unplaced buffers in each section that may overhang
  std::vector<std::int32_t> crossings_;  // unplaced buffers in both section s and s + 1
  Bounds bounds_;                        // of unplaced buffers
  std::size_t width_ = 1;  // words that sets of levels down to the current one need

  // Work space.
  std::vector<Word> conflict_, refutation_;
  std::vector<std::int32_t> floating_list_, group_;
  std::vector<Integer> settled_;
  std::vector<Integer> floor_;
  std::vector<std::int32_t> candidates_;
  std::int32_t touched_first_ = 0, touched_end_ = 0;  // sections whose bounds may have changed
};

}  // namespace planner::offsets
