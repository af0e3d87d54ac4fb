#include "offsets_search.hpp"

#include <algorithm>
#include <cstddef>
#include <numeric>

#include "offsets_place_or_raise.hpp"

namespace planner::offsets {
namespace {

// Beyond these a run would end at its memory limit before its first placement is complete.
constexpr std::size_t kBufferLimit = 10'000;
constexpr std::size_t kConflictLimit = 4'000'000;  // pairs

std::size_t conflicting_pairs(const Instance& instance) {
  const auto sections = static_cast<std::size_t>(instance.sections);
  std::vector<std::size_t> starting(sections + 1, 0), ending(sections + 1, 0);
  for (std::size_t v = 0; v < instance.buffers(); ++v) {
    ++starting[static_cast<std::size_t>(instance.first_section[v])];
    ++ending[static_cast<std::size_t>(instance.end_section[v])];
  }
  std::size_t alive = 0;
  std::size_t pairs = 0;
  for (std::size_t s = 0; s < sections; ++s) {
    alive -= ending[s];
    pairs += starting[s] * alive + starting[s] * (starting[s] - 1) / 2;
    alive += starting[s];
  }
  return pairs;
}

}  // namespace

ConflictGraph conflict_graph(const Instance& instance) {
  const std::size_t n = instance.buffers();
  std::vector<std::int32_t> by_start(n);
  std::iota(by_start.begin(), by_start.end(), 0);
  std::stable_sort(by_start.begin(), by_start.end(), [&instance](std::int32_t u, std::int32_t v) {
    return instance.first_section[static_cast<std::size_t>(u)] <
           instance.first_section[static_cast<std::size_t>(v)];
  });
  std::vector<std::int32_t> alive;
  auto for_each_pair = [&](auto visit) {
    alive.clear();
    for (std::int32_t v : by_start) {
      const std::int32_t start = instance.first_section[static_cast<std::size_t>(v)];
      alive.erase(std::remove_if(alive.begin(), alive.end(),
                                 [&](std::int32_t u) {
                                   return instance.end_section[static_cast<std::size_t>(u)] <=
                                          start;
                                 }),
                  alive.end());
      for (std::int32_t u : alive) visit(static_cast<std::size_t>(u), static_cast<std::size_t>(v));
      alive.push_back(v);
    }
  };
  ConflictGraph graph;
  graph.row.assign(n + 1, 0);
  for_each_pair([&graph](std::size_t u, std::size_t v) {
    ++graph.row[u + 1];
    ++graph.row[v + 1];
  });
  std::partial_sum(graph.row.begin(), graph.row.end(), graph.row.begin());
  graph.neighbour.resize(graph.row[n]);
  std::vector<std::size_t> next(graph.row.begin(), graph.row.end() - 1);
  for_each_pair([&](std::size_t u, std::size_t v) {
    graph.neighbour[next[u]++] = static_cast<std::int32_t>(v);
    graph.neighbour[next[v]++] = static_cast<std::int32_t>(u);
  });
  return graph;
}

Units in_units(const Instance& instance) {
  Units units;
  units.size = instance.padded_size;
  units.alignment = instance.alignment;
  std::int64_t common = 0;
  for (std::int64_t size : units.size) common = std::gcd(common, size);
  for (std::size_t v = 0; v < instance.buffers(); ++v) {
    if (instance.pinned(v)) common = std::gcd(common, instance.fixed[v]);
  }
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
  if (instance.buffers() > kBufferLimit || conflicting_pairs(instance) > kConflictLimit) {
    return nullptr;
  }
  const Units units = in_units(instance);
  if (units.largest_sum < std::int64_t{1} << 29) {
    return std::make_unique<PlaceOrRaise<std::int32_t>>(instance, units);
  }
  return std::make_unique<PlaceOrRaise<std::int64_t>>(instance, units);
}

std::int64_t offset_unit(const Instance& instance) { return in_units(instance).unit; }

}  // namespace planner::offsets
