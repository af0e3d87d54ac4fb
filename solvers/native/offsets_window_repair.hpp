// Lowers a packing by the exact search: a few buffers around what sticks out are placed anew.
#pragma once

#include <cstddef>
#include <cstdint>

#include "control.hpp"
#include "offsets_greedy.hpp"
#include "offsets_instance.hpp"

namespace planner::offsets {

struct WindowLimits {
  std::int64_t nodes;    // of the search, altogether
  std::size_t narrowest;  // buffers placed anew in the first window around a place
  std::size_t widest;     // and in the last before the place is given up
};

struct WindowRepairs {
  bool lower = false;  // the packing than before
  std::int64_t nodes = 0;
  int searches = 0;
};

// Lowers the packing towards `goal` (or the instance's bound, if that is higher): the highest
// buffer and those around it are freed, everything else alive then stays where it is, and the
// search looks for a placement below a target. A window in which there is none, or none is found, is
// doubled. Stops at the goal, at the limit, at a place where all windows fail just below the
// height, or when the control says so. For instances without constraints.
WindowRepairs repair_windows(const Instance& instance, Packing& packing, std::int64_t goal,
                             WindowLimits limits, Control& control);

}  // namespace planner::offsets
