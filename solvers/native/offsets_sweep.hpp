// Packs in order of start with a free list, as an allocator at run time would.
#pragma once

#include <cstdint>
#include <vector>

#include "offsets_instance.hpp"

namespace planner::offsets {

// Offsets by best fit among the bytes free when each lifetime starts, in O(n log n). Rarely the
// lowest packing, but there at once, however many buffers are alive together.
std::vector<std::int64_t> pack_by_sweep(const Instance& instance);

}  // namespace planner::offsets
