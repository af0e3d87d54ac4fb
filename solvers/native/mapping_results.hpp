// What a mapping kernel hands back.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
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

// Says what is wrong with single residencies that come from outside, and with those of one buffer;
// whether all together have bytes and room, `adopt` finds out.
std::optional<std::string> check_residencies(const MappingModel& model,
                                             const std::vector<std::int64_t>& residencies,
                                             bool addresses);

}  // namespace planner::mapping

namespace nanobind {
class tuple;
}

namespace planner {

nanobind::tuple to_python(mapping::MappingResult result);

}  // namespace planner
