#include "offsets_search.hpp"

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <utility>

#include "offsets_conflicts.hpp"
#include "offsets_differences.hpp"
#include "offsets_overwrites.hpp"
#include "offsets_place_or_raise.hpp"

namespace planner::offsets {
namespace {

// Beyond these a run would end at its memory limit before its first placement is complete.
constexpr std::size_t kBufferLimit = 10'000;
constexpr std::size_t kConflictLimit = 4'000'000;  // pairs
constexpr std::size_t kPairwiseConflictLimit = 1'000'000;

constexpr double kLargestSum = 1e18;  // of the distances of a pairwise instance, in units

template <bool kPairwise>
std::unique_ptr<PlacementSearch> search_of(const Instance& instance, const Units& units,
                                           ConflictGraph conflicts) {
  if (units.largest_sum < std::int64_t{1} << 29) {
    return std::make_unique<PlaceOrRaise<std::int32_t, kPairwise>>(instance, units,
                                                                   std::move(conflicts));
  }
  return std::make_unique<PlaceOrRaise<std::int64_t, kPairwise>>(instance, units,
                                                                 std::move(conflicts));
}

}  // namespace

Units in_units(const Instance& instance) {
  Units units;
  units.size = instance.padded_size;
  units.alignment = instance.alignment;
  std::int64_t common = 0;
  for (std::int64_t size : units.size) common = std::gcd(common, size);
  for (std::size_t v = 0; v < instance.buffers(); ++v) {
    if (instance.pinned(v)) common = std::gcd(common, instance.fixed[v]);
  }
  for (const Rectangle& rectangle : instance.rectangles) {
    common = std::gcd(common, std::gcd(rectangle.begin, rectangle.end));
  }
  for (const PairRule& rule : instance.rules) {
    for (const auto& [low, high] : forbidden_differences(instance, rule.first, rule.second)) {
      common = std::gcd(common, std::gcd(low, high));
    }
  }
  if (!instance.whole_granules) common = instance.granule;
  const bool sums_are_aligned =
      std::all_of(units.alignment.begin(), units.alignment.end(),
                  [common](std::int64_t alignment) { return common % alignment == 0; });
  units.unit = sums_are_aligned ? common : instance.granule;
  for (std::int64_t& size : units.size) size /= units.unit;
  for (std::int64_t& alignment : units.alignment) {
    alignment = sums_are_aligned ? 1 : alignment / units.unit;
  }
  units.largest_sum = std::accumulate(units.size.begin(), units.size.end(), std::int64_t{0}) +
                      std::accumulate(units.alignment.begin(), units.alignment.end(),
                                      std::int64_t{0});
  if (!instance.fixed.empty()) {
    units.largest_sum +=
        std::max<std::int64_t>(0, *std::max_element(instance.fixed.begin(), instance.fixed.end())) /
        units.unit;
  }
  return units;
}

std::unique_ptr<PlacementSearch> make_placement_search(const Instance& instance) {
  if (instance.only_overwrites) return make_overwrite_search(instance);
  if (instance.buffers() > kBufferLimit) return nullptr;
  const std::size_t limit = instance.pairwise() ? kPairwiseConflictLimit : kConflictLimit;
  if (conflicting_pairs(instance) > limit) return nullptr;
  Units units = in_units(instance);
  if (!instance.pairwise()) return search_of<false>(instance, units, conflict_graph(instance));
  ConflictGraph conflicts = pairwise_conflict_graph(instance, units.unit);
  // The largest distance may lie below each buffer, not only another's size.
  double largest_sum =
      static_cast<double>(units.largest_sum) * static_cast<double>(conflicts.steps);
  largest_sum += static_cast<double>(
      *std::max_element(conflicts.anchor.begin(), conflicts.anchor.end()));
  for (std::size_t v = 0; v < instance.buffers(); ++v) {
    std::int64_t largest = 0;
    for (std::size_t e = conflicts.row[v]; e < conflicts.row[v + 1]; ++e) {
      largest = std::max(largest, conflicts.below[e]);
    }
    largest_sum += static_cast<double>(largest);
  }
  if (largest_sum > kLargestSum) return nullptr;
  units.largest_sum = static_cast<std::int64_t>(largest_sum) + 1;
  return search_of<true>(instance, units, std::move(conflicts));
}

std::int64_t offset_unit(const Instance& instance) { return in_units(instance).unit; }

}  // namespace planner::offsets
