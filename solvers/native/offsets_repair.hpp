// Lowers a finished packing: what sticks out above a target goes elsewhere, and what lies there too.
#pragma once

#include <cstdint>

#include "control.hpp"
#include "offsets_greedy.hpp"
#include "offsets_instance.hpp"

namespace planner::offsets {

struct RepairLimits {
  std::uint64_t work;      // buffers looked at, altogether
  std::uint64_t attempt;   // and for one target, at first
};

// Lowers the packing towards `goal` (or the instance's bound, if that is higher) in steps, each an
// ejection chain: a buffer without a place takes the cheapest one, whoever lies there has to find
// another. Stops at the goal, at the limit, when the steps have become tiny, or when the control
// says so. True if the packing is lower than before. For instances without constraints.
bool repair(const Instance& instance, Packing& packing, std::int64_t goal, RepairLimits limits,
            Control& control);

}  // namespace planner::offsets
