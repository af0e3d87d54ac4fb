#include "mapping_game_program.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace planner::mapping {

namespace {

// Ranks in [0, 1]; equal values in the order of their indices.
std::vector<float> ranks(const std::vector<double>& values) {
  std::vector<std::int32_t> order(values.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](std::int32_t a, std::int32_t b) { return values[a] < values[b]; });
  std::vector<float> result(values.size());
  const auto most = static_cast<float>(std::max<std::size_t>(1, values.size() - 1));
  for (std::size_t k = 0; k < order.size(); ++k) {
    result[order[k]] = static_cast<float>(k) / most;
  }
  return result;
}

void accumulate(std::vector<float>& sums) {
  for (std::size_t k = 1; k < sums.size(); ++k) sums[k] += sums[k - 1];
}

}  // namespace

GameProgram::GameProgram(const MappingModel& described)
    : model(&described),
      alone(described.accesses.size()),
      alone_onwards(described.accesses.size()),
      excess_before(described.rows.size() + 1),
      accessed_before(described.rows.size() + 1),
      first_bytes_before(described.rows.size() + 1),
      first_copies_before(described.rows.size() + 1) {
  const std::size_t rows = described.rows.size();
  for (std::size_t t = 0; t < rows; ++t) {
    const RowCost& cost = described.rows[t];
    Ticks slow = cost.other;
    Ticks fast = cost.other;
    std::int32_t touching = 0;
    const std::int32_t begin = described.row_begin[t];
    const std::int32_t end = described.row_begin[t + 1];
    for (std::int32_t i = begin; i < end; ++i) {
      slow += described.accesses[i].slow;
      fast += described.accesses[i].fast;
      touching += described.accesses[i].moves ? 1 : 0;
    }
    const bool accessed = touching > 0;
    const auto latencies = [&](bool touches_fast, bool touches_slow) {
      return (touches_fast ? described.fast_latency : 0) +
             (touches_slow ? described.slow_latency : 0);
    };
    slow += latencies(cost.touches_fast, cost.touches_slow || accessed);
    fast += latencies(cost.touches_fast || accessed, cost.touches_slow);
    slow_time.push_back(cost.overhead + std::max(cost.arithmetic, slow));
    fast_time.push_back(cost.overhead + std::max(cost.arithmetic, fast));
    all_slow += slow_time.back();
    all_fast += fast_time.back();
    for (std::int32_t i = begin; i < end; ++i) {
      const Access& access = described.accesses[i];
      if (!access.moves) continue;
      const Ticks left = slow - access.slow + access.fast +
                         (cost.touches_fast ? 0 : described.fast_latency) -
                         (touching == 1 && !cost.touches_slow ? described.slow_latency : 0);
      alone[i] = slow_time.back() - cost.overhead - std::max(cost.arithmetic, left);
    }
  }
  mean_time = std::max(1.0, static_cast<double>(all_slow) /
                                static_cast<double>(std::max<std::size_t>(1, rows)));
  std::vector<double> by_size(alone.size());
  std::vector<double> by_span(alone.size());
  for (const Buffer& buffer : described.buffers) {
    Ticks onwards = 0;
    for (std::int32_t use = buffer.uses - 1; use >= 0; --use) {
      const std::int32_t index = described.use[buffer.uses_begin + use];
      const std::int32_t row = described.accesses[index].row;
      const auto size = static_cast<double>(buffer.size);
      const bool last = use == buffer.uses - 1;
      const std::int32_t next = last ? -1 : described.use[buffer.uses_begin + use + 1];
      onwards += alone[index];
      alone_onwards[index] = onwards;
      by_size[index] = static_cast<double>(onwards) / std::sqrt(size);
      const double span = last ? 1.0 : described.accesses[next].row - row;
      by_span[index] = static_cast<double>(last ? alone[index] : alone[next]) / (size * span);
    }
  }
  rank_by_size = ranks(by_size);
  rank_by_span = ranks(by_span);
  const auto capacity = static_cast<float>(std::max<std::int64_t>(1, described.capacity));
  for (std::size_t t = 0; t < rows; ++t) {
    excess_before[t + 1] =
        static_cast<float>(static_cast<double>(slow_time[t] - fast_time[t]) / mean_time);
  }
  for (const Access& access : described.accesses) {
    const Buffer& buffer = described.buffers[access.buffer];
    const float size = static_cast<float>(buffer.size) / capacity;
    accessed_before[access.row + 1] += size;
    if (access.use > 0) continue;
    first_bytes_before[access.row + 1] += size;
    if (!access.writes) {
      first_copies_before[access.row + 1] +=
          static_cast<float>(static_cast<double>(buffer.copy_in) / mean_time);
    }
  }
  for (auto* sums :
       {&excess_before, &accessed_before, &first_bytes_before, &first_copies_before}) {
    accumulate(*sums);
  }
}

}  // namespace planner::mapping
