// Lowers a packing by squeezing it: buffers may overlap for a while, and are moved until none does.
#pragma once

#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

#include "control.hpp"
#include "offsets_conflicts.hpp"
#include "offsets_greedy.hpp"
#include "offsets_instance.hpp"
#include "offsets_shared.hpp"

namespace planner::offsets {

// What all trajectories have in common: sizes in units and conflicts, each pair with a number.
struct OverlapPairs {
  static constexpr std::size_t kMostPairs = 500'000;
  static constexpr std::int64_t kMostUnits = 1 << 13;  // a step goes through all offsets

  // Throws std::invalid_argument for constraints other than overwrites, sizes that are no multiples
  // of all alignments, and instances beyond the limits.
  explicit OverlapPairs(const Instance& instance);

  std::int64_t unit = 0;
  std::vector<std::int32_t> size;
  ConflictGraph conflicts;
  std::vector<std::size_t> pair;  // of each entry of the conflict graph
  std::vector<char> overwrites;   // whether its two may lie at the same offset
  std::size_t count = 0;
};

// Guided local search over placements within a height, not all of them legal. The cost of two
// conflicting buffers is the units they have in common, times a weight; of an overwrite it is
// nothing where both lie at the same offset. A step takes a random buffer that overlaps another to the offset where it costs least; if that is no better, what it
// overlaps where it is weighs more from then on. So the search leaves every local minimum, and the
// pairs that are hard to keep apart are settled first.
//
// The method is that of Egeblad, Nielsen and Odgaard, "Fast neighborhood search for two- and
// three-dimensional nesting problems" (EJOR 183, 2007), in one dimension, with buffers for shapes.
class OverlapSearch {
 public:
  // Refers to both.
  OverlapSearch(const Instance& instance, const OverlapPairs& pairs);

  // Begins anew from these offsets, pushed down to a height in bytes.
  void begin(const std::vector<std::int64_t>& offsets, std::int64_t height, std::uint64_t seed);

  // Pushes what there is down to a height and keeps the weights. No buffer is higher than that.
  void squeeze(std::int64_t height);

  // True once nothing overlaps; false after so many steps.
  bool run(std::int64_t steps, Control& control);

  Packing packing();  // legal after a run that was true
  std::int64_t lowest() const { return lowest_; }  // height of the last packing asked for
  std::int64_t steps() const { return steps_; }    // since the begin
  std::int64_t risen() const { return risen_; }    // weights, altogether, since the last squeeze

 private:
  void step();
  bool least_cost_offset(std::int32_t buffer);
  void weigh_overlaps(std::int32_t buffer);
  void move(std::int32_t buffer, std::int32_t offset);
  void recount();
  void list(std::int32_t buffer);
  std::int64_t overlap(std::size_t buffer, std::size_t entry) const;
  static std::size_t index(std::int32_t i) { return static_cast<std::size_t>(i); }

  const Instance& instance_;
  const OverlapPairs& pairs_;
  std::mt19937_64 random_;
  std::vector<std::int64_t> weight_;  // of each pair
  std::int64_t risen_ = 0;
  std::int64_t lowest_ = 0;
  std::int32_t height_ = 0;  // in units, as offsets and costs; the buffers are within
  std::vector<std::int32_t> offset_;
  std::vector<std::int64_t> cost_;           // of each buffer
  std::vector<std::int32_t> overlapping_;    // buffers whose cost is not 0
  std::vector<std::int32_t> place_;          // of each buffer in that list, or -1
  std::vector<std::int64_t> resting_until_;  // step of each buffer
  std::vector<std::int64_t> bend_;           // change of the cost's slope at each offset
  std::vector<std::int64_t> dip_;            // what the cost is lower at that offset alone, or 0
  std::int32_t best_offset_ = 0;             // of the buffer in hand
  std::int64_t best_cost_ = 0;
  std::int64_t steps_ = 0;
};

struct SqueezeResult {
  Packing packing;
  std::int64_t steps;
};

// Lowers a legal packing until the goal or the bound, the control, or on small instances long
// without success. Nothing but the seed decides on the way, unless the control cuts in or others
// reach the goal.
SqueezeResult squeeze(const Instance& instance, Packing start, std::int64_t goal,
                      std::uint64_t seed, Control& control, SharedBest* shared);

}  // namespace planner::offsets
