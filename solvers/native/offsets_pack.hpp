// Packs a whole instance: components apart, greedy first, then the search if asked for.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "control.hpp"
#include "offsets_greedy.hpp"
#include "offsets_instance.hpp"
#include "offsets_shared.hpp"

namespace planner::offsets {

struct PackResult {
  Packing packing;
  std::int64_t lower_bound = 0;  // proven
  std::string order;             // what packed the highest component
  int components = 0;
  std::int64_t nodes = 0;  // of the search
  int searches = 0;        // runs of the search, each at one capacity

  // Two buffers whose fixed offsets exclude each other: then there is no packing.
  std::optional<std::pair<std::int32_t, std::int32_t>> clash;
};

// Proven: no placement is lower. The largest bound of a component; each has a granule of its own.
std::int64_t lower_bound(const Instance& instance);

// `capacity` negative: minimise the height. Otherwise the first packing within it will do, and a
// bound above it is a proof that there is none, as is a clash. With `shared`, improvements of packing
// and bound are published there, and the search goes on from what others have published.
PackResult pack(const Instance& instance, const std::vector<std::int64_t>& hint,
                std::int64_t capacity, bool search, Control& control, SharedBest* shared);

}  // namespace planner::offsets
