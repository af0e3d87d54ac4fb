// The pairs of buffers that the search keeps apart, and how far.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "offsets_instance.hpp"

namespace planner::offsets {

// Buffers that conflict with each buffer, in compressed rows.
struct ConflictGraph {
  std::vector<std::size_t> row;
  std::vector<std::int32_t> neighbour;

  // Of pairwise instances. The search places a buffer's **anchor**, so far above its offset. Of two
  // buffers in conflict one is **above** the other: its anchor is at least the distance of that
  // direction above the other's, and both distances are positive. All in steps, so many to a unit.
  std::int64_t steps = 1;
  std::vector<std::int64_t> anchor;
  std::vector<std::int64_t> above;  // distance from the row's buffer up to the neighbour
  std::vector<std::int64_t> below;  // distance from the neighbour up to the row's buffer

  // Every legal packing keeps these distances. Not so if one of two buffers may lie between bytes
  // of the other, or if no anchors make all distances positive.
  bool complete = true;
};

// Conflicts of an instance that is not pairwise: all distances are sizes.
ConflictGraph conflict_graph(const Instance& instance);

// Conflicts of a pairwise instance. `unit` divides all ends of forbidden intervals.
ConflictGraph pairwise_conflict_graph(const Instance& instance, std::int64_t unit);

// Upper bound on the pairs to look at, of rectangles if the instance has them.
std::size_t conflicting_pairs(const Instance& instance);

}  // namespace planner::offsets
