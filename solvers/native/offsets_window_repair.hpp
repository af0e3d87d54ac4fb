// Lowers a packing by the exact search: a few buffers around what sticks out are placed anew.
#pragma once

#include <cstdint>

#include "control.hpp"
#include "offsets_greedy.hpp"
#include "offsets_instance.hpp"

namespace planner::offsets {

struct WindowLimits {
  std::int64_t pairs;  // in conflict, in one window; the search of larger ones takes too long
  std::int64_t work;   // nodes, each as many times as a buffer has conflicts, altogether
};

struct WindowRepairs {
  bool lower = false;  // the packing, than before
  std::int64_t work = 0;
  std::int64_t nodes = 0;
  int searches = 0;
};

// Lowers the packing towards `goal` (or the instance's bound, if that is higher). The buffers that
// live around the highest one are freed, everything else stays where it is, and the search places
// them anew below a target. A window in which it finds no placement is doubled, then the target is
// raised. Stops at the goal, at the limit of work, where all windows just below the height fail, or
// when the control says so. For instances without constraints.
WindowRepairs repair_windows(const Instance& instance, Packing& packing, std::int64_t goal,
                             WindowLimits limits, Control& control);

}  // namespace planner::offsets
