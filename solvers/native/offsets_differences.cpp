#include "offsets_differences.hpp"

#include <algorithm>
#include <cstddef>

namespace planner::offsets {
namespace {

std::int64_t round_down(std::int64_t value, std::int64_t granule) {
  const std::int64_t rest = value % granule;
  return value - (rest < 0 ? rest + granule : rest);
}

// Rounds outwards, which neither forbids nor allows another multiple of the granule.
std::vector<OpenInterval> in_granules(std::vector<OpenInterval> intervals, std::int64_t granule) {
  for (OpenInterval& interval : intervals) {
    interval = {round_down(interval.low, granule), -round_down(-interval.high, granule)};
  }
  std::sort(intervals.begin(), intervals.end(),
            [](const OpenInterval& x, const OpenInterval& y) { return x.low < y.low; });
  std::vector<OpenInterval> merged;
  for (const OpenInterval& interval : intervals) {
    if (interval.high - interval.low <= granule) continue;
    if (!merged.empty() && interval.low < merged.back().high) {
      merged.back().high = std::max(merged.back().high, interval.high);
    } else {
      merged.push_back(interval);
    }
  }
  return merged;
}

}  // namespace

const PairRule* rule_between(const Instance& instance, std::int32_t u, std::int32_t v) {
  if (instance.rules.empty()) return nullptr;
  const auto row = static_cast<std::size_t>(u);
  const auto begin =
      instance.rule_links.begin() + static_cast<std::ptrdiff_t>(instance.rule_row[row]);
  const auto end =
      instance.rule_links.begin() + static_cast<std::ptrdiff_t>(instance.rule_row[row + 1]);
  const auto link = std::lower_bound(
      begin, end, v,
      [](const Instance::RuleLink& x, std::int32_t partner) { return x.partner < partner; });
  if (link == end || link->partner != v) return nullptr;
  return &instance.rules[static_cast<std::size_t>(link->rule)];
}

std::vector<OpenInterval> forbidden_by_uses(const Instance& instance, std::int32_t u,
                                            std::int32_t v) {
  const auto i = static_cast<std::size_t>(u);
  const auto j = static_cast<std::size_t>(v);
  if (instance.first_section[i] >= instance.end_section[j] ||
      instance.first_section[j] >= instance.end_section[i]) {
    return {};
  }
  std::vector<OpenInterval> intervals;
  for (std::size_t k = instance.rectangle_row[i]; k < instance.rectangle_row[i + 1]; ++k) {
    const Rectangle& a = instance.rectangles[k];
    for (std::size_t l = instance.rectangle_row[j]; l < instance.rectangle_row[j + 1]; ++l) {
      const Rectangle& b = instance.rectangles[l];
      if (a.first_section < b.end_section && b.first_section < a.end_section) {
        intervals.push_back({a.begin - b.end, a.end - b.begin});
      }
    }
  }
  return in_granules(std::move(intervals), instance.granule);
}

std::vector<OpenInterval> forbidden_differences(const Instance& instance, std::int32_t u,
                                                std::int32_t v) {
  const PairRule* rule = rule_between(instance, u, v);
  if (rule == nullptr) return forbidden_by_uses(instance, u, v);
  std::vector<OpenInterval> intervals = rule->forbidden;
  if (rule->first != u) {
    for (OpenInterval& interval : intervals) interval = {-interval.high, -interval.low};
  }
  return in_granules(std::move(intervals), instance.granule);
}

}  // namespace planner::offsets
