// The rectangles, time by bytes, that the buffers of a pairwise instance use.
#pragma once

#include "offsets_instance.hpp"

namespace planner::offsets {

// Derives the sections, rectangles, used and shared bytes and the links of the rules, once the
// granule is known.
void add_rectangles(Instance& instance);

}  // namespace planner::offsets
