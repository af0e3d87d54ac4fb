// What a mapping kernel hands back.
#pragma once

#include <cstdint>
#include <vector>

#include "mapping_state.hpp"

namespace planner::mapping {

struct MappingResult {
  // buffer, first, last, start, end, offset of each, by buffer and first access
  std::vector<std::int64_t> residencies;
  Ticks latency = 0;
  std::int64_t attempts = 0;
};

MappingResult result_of(const MappingState& state);

}  // namespace planner::mapping

namespace nanobind {
class tuple;
}

namespace planner {

nanobind::tuple to_python(mapping::MappingResult result);

}  // namespace planner
