#include "mapping_model.hpp"

namespace planner::mapping {

namespace {

// Sums of all times stay far below 2^63.
constexpr Ticks kMostTicks = Ticks{1} << 56;

bool in_range(Ticks value) { return value >= 0 && value <= kMostTicks; }

std::optional<std::string> check_buffers(const MappingArrays& arrays) {
  for (std::size_t b = 0; b < arrays.buffers; ++b) {
    const std::string which = "buffer " + std::to_string(b);
    if (arrays.size[b] <= 0 || arrays.size[b] > arrays.capacity ||
        arrays.size[b] % arrays.alignment != 0) {
      return which + ": its size has to be a positive multiple of the alignment, at most the " +
             "capacity";
    }
    if (arrays.copy_in[b] <= 0 || !in_range(arrays.copy_in[b]) || arrays.copy_out[b] <= 0 ||
        !in_range(arrays.copy_out[b])) {
      return which + ": copies have to take between 1 and 2^56 ticks";
    }
  }
  return std::nullopt;
}

std::optional<std::string> check_accesses(const MappingArrays& arrays) {
  std::vector<bool> seen(arrays.buffers, false);
  for (std::size_t i = 0; i < arrays.accesses; ++i) {
    const std::string which = "access " + std::to_string(i);
    const std::int32_t row = arrays.access_row[i];
    const std::int32_t buffer = arrays.access_buffer[i];
    if (row < 0 || static_cast<std::size_t>(row) >= arrays.rows || buffer < 0 ||
        static_cast<std::size_t>(buffer) >= arrays.buffers) {
      return which + ": its row or buffer is out of range";
    }
    if (i > 0 && (row < arrays.access_row[i - 1] ||
                  (row == arrays.access_row[i - 1] && buffer <= arrays.access_buffer[i - 1]))) {
      return which + ": accesses have to ascend by row, then by buffer";
    }
    if (!in_range(arrays.fast[i]) || !in_range(arrays.slow[i])) {
      return which + ": its times have to lie between 0 and 2^56 ticks";
    }
    if (!seen[buffer] && !arrays.has_copy[buffer] && !arrays.writes[i]) {
      return which + ": reads a buffer that nothing has written";
    }
    seen[buffer] = true;
  }
  for (std::size_t b = 0; b < arrays.buffers; ++b) {
    if (!seen[b]) return "buffer " + std::to_string(b) + ": has no access";
  }
  return std::nullopt;
}

std::optional<std::string> check(const MappingArrays& arrays) {
  if (arrays.alignment <= 0 || arrays.capacity < 0 || arrays.capacity % arrays.alignment != 0) {
    return "the capacity has to be a multiple of the alignment";
  }
  if (!in_range(arrays.fast_latency) || !in_range(arrays.slow_latency)) {
    return "latencies have to lie between 0 and 2^56 ticks";
  }
  for (std::size_t t = 0; t < arrays.rows; ++t) {
    if (!in_range(arrays.arithmetic[t]) || !in_range(arrays.overhead[t]) ||
        !in_range(arrays.other_fast[t]) || !in_range(arrays.other_slow[t])) {
      return "row " + std::to_string(t) + ": its times have to lie between 0 and 2^56 ticks";
    }
  }
  for (std::size_t t = 0; t <= arrays.rows; ++t) {
    for (const std::int64_t* ready : {arrays.ready_in, arrays.ready_out}) {
      if (ready[t] < static_cast<std::int64_t>(t) ||
          ready[t] > static_cast<std::int64_t>(arrays.rows) || (t > 0 && ready[t] < ready[t - 1])) {
        return "boundary " + std::to_string(t) + ": copies are ready before it, or out of order";
      }
    }
  }
  if (auto problem = check_buffers(arrays)) return problem;
  return check_accesses(arrays);
}

}  // namespace

std::optional<std::string> build_model(const MappingArrays& arrays, MappingModel& model) {
  if (auto problem = check(arrays)) return problem;
  model.capacity = arrays.capacity;
  model.alignment = arrays.alignment;
  model.fast_latency = arrays.fast_latency;
  model.slow_latency = arrays.slow_latency;
  for (std::size_t t = 0; t < arrays.rows; ++t) {
    model.rows.push_back({arrays.arithmetic[t], arrays.overhead[t],
                          arrays.other_fast[t] + arrays.other_slow[t], arrays.other_slow[t],
                          arrays.touches_fast[t], arrays.touches_slow[t]});
  }
  model.latest_in.assign(arrays.rows, -1);
  std::int32_t boundary = 0;
  for (std::size_t t = 0; t < arrays.rows; ++t) {
    while (static_cast<std::size_t>(boundary) < arrays.rows &&
           arrays.ready_in[boundary] <= static_cast<std::int64_t>(t)) {
      ++boundary;
    }
    model.latest_in[t] = boundary - 1;
  }
  for (std::size_t t = 0; t <= arrays.rows; ++t) {
    model.ready_out.push_back(static_cast<std::int32_t>(arrays.ready_out[t]));
  }
  std::vector<std::int32_t> count(arrays.buffers, 0);
  std::vector<std::int32_t> last_write(arrays.buffers, -1);
  model.row_begin.assign(arrays.rows + 1, 0);
  for (std::size_t i = 0; i < arrays.accesses; ++i) {
    const std::int32_t buffer = arrays.access_buffer[i];
    const std::int32_t which = count[buffer]++;
    model.accesses.push_back({arrays.access_row[i], buffer, which, last_write[buffer],
                              arrays.writes[i], arrays.fast[i] > 0 || arrays.slow[i] > 0,
                              arrays.fast[i], arrays.slow[i]});
    if (arrays.writes[i]) last_write[buffer] = which;
    ++model.row_begin[arrays.access_row[i] + 1];
  }
  for (std::size_t t = 0; t < arrays.rows; ++t) model.row_begin[t + 1] += model.row_begin[t];
  std::int32_t begin = 0;
  for (std::size_t b = 0; b < arrays.buffers; ++b) {
    model.buffers.push_back({arrays.size[b], arrays.has_copy[b], arrays.copy_in[b],
                             arrays.copy_out[b], begin, count[b]});
    begin += count[b];
  }
  model.use.resize(arrays.accesses);
  for (std::size_t i = 0; i < arrays.accesses; ++i) {
    const Access& access = model.accesses[i];
    model.use[model.buffers[access.buffer].uses_begin + access.use] = static_cast<std::int32_t>(i);
  }
  return std::nullopt;
}

}  // namespace planner::mapping
