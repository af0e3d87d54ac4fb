#include "mapping_results.hpp"

#include <algorithm>

namespace planner::mapping {

MappingResult result_of(const MappingState& state) {
  std::vector<std::int32_t> ids = state.placed();
  std::sort(ids.begin(), ids.end(), [&](std::int32_t a, std::int32_t b) {
    const Stay& x = state.stay(a);
    const Stay& y = state.stay(b);
    return x.buffer != y.buffer ? x.buffer < y.buffer : x.first < y.first;
  });
  MappingResult result;
  for (const std::int32_t id : ids) {
    const Stay& stay = state.stay(id);
    for (const std::int64_t value :
         {std::int64_t{stay.buffer}, std::int64_t{stay.first}, std::int64_t{stay.last},
          std::int64_t{stay.start}, std::int64_t{stay.end}, stay.offset}) {
      result.residencies.push_back(value);
    }
  }
  result.latency = state.latency();
  result.attempts = state.attempts();
  return result;
}

}  // namespace planner::mapping
