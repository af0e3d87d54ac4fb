// Packs the large buffers bottom up, as the exact search would without ever going back.
#pragma once

#include <cstdint>
#include <vector>

#include "control.hpp"
#include "offsets_instance.hpp"

namespace planner::offsets {

struct Skyline {
  std::vector<std::int64_t> offsets;  // -1 where not placed
  std::uint64_t work = 0;             // candidates looked at
};

// Takes the largest buffers that together have `share` of the area (bytes x time), and of those
// always the one that can lie lowest, on top of all that is placed; of several the one whose
// fullest section has most bytes still to be placed, then the longest. What is not placed after
// `work_limit` candidates, or when the control stops, stays out. For instances without constraints.
Skyline pack_by_skyline(const Instance& instance, double share, std::uint64_t work_limit,
                        Control& control);

}  // namespace planner::offsets
