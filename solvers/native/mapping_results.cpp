#include "mapping_results.hpp"

#include <algorithm>
#include <cstddef>

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

std::optional<std::string> check_residencies(const MappingModel& model,
                                             const std::vector<std::int64_t>& residencies,
                                             bool addresses) {
  if (residencies.size() % 6 != 0) return "residencies have six numbers each";
  const auto rows = static_cast<std::int64_t>(model.rows.size());
  std::int64_t before = -1;
  std::int64_t served = -1;
  std::int64_t left = 0;
  for (std::size_t k = 0; k < residencies.size(); k += 6) {
    const std::int64_t buffer = residencies[k];
    const std::int64_t first = residencies[k + 1];
    const std::int64_t last = residencies[k + 2];
    const std::int64_t start = residencies[k + 3];
    const std::int64_t end = residencies[k + 4];
    const std::int64_t offset = residencies[k + 5];
    const std::string which = "residency " + std::to_string(k / 6);
    if (buffer < 0 || buffer >= static_cast<std::int64_t>(model.buffers.size())) {
      return which + ": its buffer is out of range";
    }
    const Buffer& described = model.buffers[buffer];
    if (buffer != before) {
      served = -1;
      left = 0;
    }
    if (buffer < before || first <= served || last < first || last >= described.uses) {
      return which + ": its accesses are out of range, or out of order";
    }
    const auto index = static_cast<std::int32_t>(buffer);
    if (start < 0 || start > model.access(index, static_cast<std::int32_t>(first)).row ||
        end <= model.access(index, static_cast<std::int32_t>(last)).row || end > rows) {
      return which + ": its steps do not hold its accesses";
    }
    if (last + 1 < described.uses &&
        end > model.access(index, static_cast<std::int32_t>(last) + 1).row) {
      return which + ": its steps hold an access that it does not serve";
    }
    const Access& opening = model.access(index, static_cast<std::int32_t>(first));
    if (first == 0 && opening.writes && start != opening.row) {
      return which + ": it begins with a write, but starts before it";
    }
    // A write before `served` is over when the residency of that access ends, or earlier.
    std::int64_t valid_from = left;
    if (opening.previous_write > served) {
      valid_from = model.access(index, opening.previous_write).row + 1;
    }
    if (start < valid_from) {
      return which + ": it starts before the slow memory holds the buffer";
    }
    if (addresses && offset >= 0 &&
        (offset > model.capacity - described.size || offset % model.alignment != 0)) {
      return which + ": its bytes are out of range, or not aligned";
    }
    before = buffer;
    served = last;
    left = end;
  }
  return std::nullopt;
}

}  // namespace planner::mapping
