// The place-or-raise search; users take it from offsets_search.hpp.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "control.hpp"
#include "offsets_conflicts.hpp"
#include "offsets_explained_bounds.hpp"
#include "offsets_instance.hpp"
#include "offsets_search.hpp"

namespace planner::offsets {

// The sizes of an instance in units, chosen so that they are small integers, and the alignments
// that are left to observe (1 where every sum of sizes is aligned anyway).
struct Units {
  std::int64_t unit = 1;
  std::int64_t largest_sum = 0;  // no canonical placement is higher
  std::vector<std::int64_t> size, alignment;
};

Units in_units(const Instance& instance);

// Place-or-raise search with explained bounds and backjumping.
//
// Any placement can be pushed down until every buffer is fixed or rests on 0 or on the (aligned)
// top of a conflicting one; only such **canonical** placements are searched. Each unplaced buffer
// has a lower bound on its offset. A node takes one below which no unplaced neighbour fits and
// either **places** it at its bound or **raises** it: then it has to rest on a buffer not placed
// yet. A raised buffer
// **floats** until a top supports it at its bound. Each bound carries the set of placement levels
// from which it follows; if the failure of a placement does not depend on it, its other branch is
// skipped. A fixed buffer has its offset as bound from the start and no room above it; where it
// lies follows from nothing, so its placement is never to blame and it is never raised.
//
// Canonical placements, section bounds, decomposition and re-ranking follow google/minimalloc
// ("MiniMalloc: A Lightweight Memory Allocator for Hardware-Accelerated Machine Learning",
// ASPLOS 2023).
//
// In pairwise instances what is said of offsets holds of anchors, see ConflictGraph, and the top on
// which a buffer rests is the anchor below plus the distance of the two. At the start a buffer's
// bound is the anchor it has at offset 0. Sections count the bytes in use there; those that two
// buffers may share count once as long as both are unplaced.
//
// Integer has to hold twice Units::largest_sum.
template <class Integer, bool kPairwise>
class PlaceOrRaise final : public PlacementSearch {
 public:
  PlaceOrRaise(const Instance& instance, const Units& units, ConflictGraph conflicts);

  Answer run(std::int64_t capacity, Configuration configuration, std::int64_t node_limit,
             Control& control) override;

  const std::vector<std::int64_t>& offsets() const override { return solution_; }
  std::int64_t nodes() const override { return nodes_; }
  bool complete() const override { return conflicts_.complete; }

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

  void keep_pairwise_model();
  Integer one_unit() const {
    if constexpr (kPairwise) return steps_;
    return 1;
  }

  Integer aligned(std::int32_t buffer, Integer value) const {
    const std::size_t v = index(buffer);
    if constexpr (kPairwise) {
      return round_up(std::max<Integer>(value - anchor_[v], 0), alignment_[v]) + anchor_[v];
    }
    return round_up(value, alignment_[v]);
  }
  // How far a buffer is at least below its e-th neighbour, if that is above it, and the converse.
  Integer up_to(std::size_t buffer, std::size_t e) const {
    if constexpr (kPairwise) return above_[e];
    return size_[buffer];
  }
  Integer up_from(std::size_t e) const {
    if constexpr (kPairwise) return below_[e];
    return size_[index(conflicts_.neighbour[e])];
  }
  // Calls visit(section, bytes in use there, the lowest of them) for those from `first` to `end`.
  template <class Visit>
  void each_section(std::int32_t buffer, std::int32_t first, std::int32_t end, Visit visit) const;
  template <class Visit>
  void each_section(std::int32_t buffer, Visit visit) const {
    each_section(buffer, 0, instance_.sections, visit);
  }
  bool placed(std::int32_t buffer) const { return offset_[index(buffer)] >= 0; }
  Integer fullest_section(std::int32_t buffer) const;
  void touch(std::int32_t buffer);
  // Adds the level of a placed buffer, unless it could not have been placed anywhere else.
  void blame(Word* levels, std::int32_t buffer) const {
    if (pinned_[index(buffer)]) return;
    const std::int32_t level = level_[index(buffer)];
    levels[index(level) / 64] |= Word{1} << (level % 64);
  }
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
  std::int64_t largest_;  // no canonical placement is higher, in units or steps
  std::vector<Integer> size_, alignment_, section_total_;
  std::vector<Integer> start_;  // lowest offset of each buffer
  std::vector<char> pinned_;

  // Of a pairwise instance, in steps, as are all sizes, bounds and offsets then.
  struct Used {
    std::int32_t first_section, end_section;
    Integer bytes, lowest;
  };
  // Sections in which two buffers share bytes, or (between) boundaries s | s + 1 that keep them in
  // one part although neither crosses them.
  struct Link {
    std::int32_t partner;
    std::int32_t first, end;
    Integer bytes;
  };
  struct Links {
    std::vector<std::size_t> row;
    std::vector<Link> link;
  };
  template <class Visit>
  void each_unplaced(const Links& links, std::int32_t buffer, Visit visit) const;
  static Links by_buffer(std::size_t buffers,
                         const std::vector<std::pair<std::int32_t, Link>>& links);
  Integer steps_ = 1;  // to a unit
  std::vector<Integer> anchor_, above_, below_;
  std::vector<std::size_t> used_row_;
  std::vector<Used> used_;
  Links shared_, between_;
  std::vector<std::int32_t> reach_first_, reach_end_;  // sections of a buffer and its neighbours

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

template <class Integer, bool kPairwise>
template <class Visit>
void PlaceOrRaise<Integer, kPairwise>::each_section(std::int32_t buffer, std::int32_t first,
                                                    std::int32_t end, Visit visit) const {
  const std::size_t v = index(buffer);
  if constexpr (kPairwise) {
    for (std::size_t k = used_row_[v]; k < used_row_[v + 1]; ++k) {
      const Used& used = used_[k];
      const std::int32_t last = std::min(used.end_section, end);
      for (std::int32_t s = std::max(used.first_section, first); s < last; ++s) {
        visit(index(s), used.bytes, used.lowest);
      }
    }
  } else {
    const std::int32_t last = std::min(instance_.end_section[v], end);
    for (std::int32_t s = std::max(instance_.first_section[v], first); s < last; ++s) {
      visit(index(s), size_[v], Integer{0});
    }
  }
}

template <class Integer, bool kPairwise>
template <class Visit>
void PlaceOrRaise<Integer, kPairwise>::each_unplaced(const Links& links, std::int32_t buffer,
                                                     Visit visit) const {
  if constexpr (kPairwise) {
    const std::size_t v = index(buffer);
    for (std::size_t k = links.row[v]; k < links.row[v + 1]; ++k) {
      if (!placed(links.link[k].partner)) visit(links.link[k]);
    }
  }
}

}  // namespace planner::offsets
