#include "offsets_conflicts.hpp"

#include <algorithm>
#include <numeric>
#include <utility>

#include "offsets_differences.hpp"

namespace planner::offsets {
namespace {

// Calls visit(u, v) for all buffers with a common section, gaps not looked at.
template <class Visit>
void for_each_pair(const Instance& instance, Visit visit) {
  std::vector<std::int32_t> by_start(instance.buffers());
  std::iota(by_start.begin(), by_start.end(), 0);
  std::stable_sort(by_start.begin(), by_start.end(), [&instance](std::int32_t u, std::int32_t v) {
    return instance.first_section[static_cast<std::size_t>(u)] <
           instance.first_section[static_cast<std::size_t>(v)];
  });
  std::vector<std::int32_t> alive;
  for (std::int32_t v : by_start) {
    const std::int32_t start = instance.first_section[static_cast<std::size_t>(v)];
    alive.erase(std::remove_if(alive.begin(), alive.end(),
                               [&](std::int32_t u) {
                                 return instance.end_section[static_cast<std::size_t>(u)] <= start;
                               }),
                alive.end());
    for (std::int32_t u : alive) visit(u, v);
    alive.push_back(v);
  }
}

// offset(second) - offset(first) is not strictly between the two, which are in steps.
struct Conflict {
  std::int32_t first, second;
  OpenInterval forbidden;
};

// Shortest paths: one pass over all conflicts after the other, until nothing changes. Passes beyond
// the work allowed, or numbers beyond 62 bits, are taken for a contradiction.
constexpr std::size_t kAnchorWork = 50'000'000;
constexpr std::int64_t kLowestAnchor = -(std::int64_t{1} << 61);

// Where whole units leave no room for the anchors, such fractions of one may.
constexpr std::int64_t kStepsPerUnit = 64;
constexpr std::int64_t kLargestInSteps = std::int64_t{1} << 54;  // units

// Anchors such that zero is at least a step inside every forbidden interval of their differences;
// empty if there are none.
std::vector<std::int64_t> anchors(const std::vector<Conflict>& conflicts, std::size_t buffers) {
  std::vector<std::int64_t> anchor(buffers, 0);
  const std::size_t passes =
      std::min(buffers, kAnchorWork / std::max<std::size_t>(1, conflicts.size())) + 1;
  for (std::size_t pass = 0; pass < passes; ++pass) {
    bool changed = false;
    for (const auto& [first, second, forbidden] : conflicts) {
      // anchor(first) - anchor(second) is from low + 1 to high - 1.
      std::int64_t& u = anchor[static_cast<std::size_t>(first)];
      std::int64_t& v = anchor[static_cast<std::size_t>(second)];
      if (std::min(u, v) < kLowestAnchor) return {};
      if (u - v > forbidden.high - 1) {
        u = v + forbidden.high - 1;
        changed = true;
      } else if (u - v < forbidden.low + 1) {
        v = u - forbidden.low - 1;
        changed = true;
      }
    }
    if (changed) continue;
    const std::int64_t lowest = *std::min_element(anchor.begin(), anchor.end());
    for (std::int64_t& a : anchor) a -= lowest;
    return anchor;
  }
  return {};
}

}  // namespace

ConflictGraph conflict_graph(const Instance& instance) {
  ConflictGraph graph;
  graph.row.assign(instance.buffers() + 1, 0);
  for_each_pair(instance, [&graph](std::int32_t u, std::int32_t v) {
    ++graph.row[static_cast<std::size_t>(u) + 1];
    ++graph.row[static_cast<std::size_t>(v) + 1];
  });
  std::partial_sum(graph.row.begin(), graph.row.end(), graph.row.begin());
  graph.neighbour.resize(graph.row.back());
  std::vector<std::size_t> next(graph.row.begin(), graph.row.end() - 1);
  for_each_pair(instance, [&](std::int32_t u, std::int32_t v) {
    graph.neighbour[next[static_cast<std::size_t>(u)]++] = v;
    graph.neighbour[next[static_cast<std::size_t>(v)]++] = u;
  });
  return graph;
}

ConflictGraph pairwise_conflict_graph(const Instance& instance, std::int64_t unit) {
  ConflictGraph graph;
  std::vector<Conflict> conflicts;
  auto add = [&](std::int32_t u, std::int32_t v) {
    std::vector<OpenInterval> forbidden = forbidden_differences(instance, u, v);
    // Of these, offsets in units take no notice.
    forbidden.erase(std::remove_if(forbidden.begin(), forbidden.end(),
                                   [unit](const OpenInterval& interval) {
                                     return interval.high - interval.low <= unit;
                                   }),
                    forbidden.end());
    if (forbidden.empty()) return;
    if (forbidden.size() > 1) graph.complete = false;
    conflicts.push_back({u, v, {forbidden.front().low / unit, forbidden.back().high / unit}});
  };
  for_each_pair(instance, [&](std::int32_t u, std::int32_t v) {
    if (rule_between(instance, u, v) == nullptr) add(u, v);
  });
  for (const PairRule& rule : instance.rules) add(rule.first, rule.second);

  graph.anchor = anchors(conflicts, instance.buffers());
  const bool may_be_finer =
      std::all_of(conflicts.begin(), conflicts.end(), [](const Conflict& conflict) {
        return std::max(-conflict.forbidden.low, conflict.forbidden.high) < kLargestInSteps;
      });
  if (graph.anchor.empty() && may_be_finer) {
    graph.steps = kStepsPerUnit;
    for (Conflict& conflict : conflicts) {
      conflict.forbidden = {kStepsPerUnit * conflict.forbidden.low,
                            kStepsPerUnit * conflict.forbidden.high};
    }
    graph.anchor = anchors(conflicts, instance.buffers());
  }
  if (graph.anchor.empty()) {
    graph.complete = false;
    graph.anchor.assign(instance.buffers(), 0);
    for (Conflict& conflict : conflicts) {
      conflict.forbidden = {std::min(conflict.forbidden.low, -graph.steps),
                            std::max(conflict.forbidden.high, graph.steps)};
    }
  }

  graph.row.assign(instance.buffers() + 1, 0);
  for (const Conflict& conflict : conflicts) {
    ++graph.row[static_cast<std::size_t>(conflict.first) + 1];
    ++graph.row[static_cast<std::size_t>(conflict.second) + 1];
  }
  std::partial_sum(graph.row.begin(), graph.row.end(), graph.row.begin());
  graph.neighbour.resize(graph.row.back());
  graph.above.resize(graph.row.back());
  graph.below.resize(graph.row.back());
  std::vector<std::size_t> next(graph.row.begin(), graph.row.end() - 1);
  for (const auto& [first, second, forbidden] : conflicts) {
    const auto u = static_cast<std::size_t>(first);
    const auto v = static_cast<std::size_t>(second);
    const std::int64_t shift = graph.anchor[v] - graph.anchor[u];
    const std::int64_t up = forbidden.high + shift;     // from the first to the second
    const std::int64_t down = -(forbidden.low + shift);  // and back
    const std::size_t e = next[u]++;
    const std::size_t f = next[v]++;
    graph.neighbour[e] = second;
    graph.neighbour[f] = first;
    graph.above[e] = graph.below[f] = up;
    graph.below[e] = graph.above[f] = down;
  }
  return graph;
}

std::size_t conflicting_pairs(const Instance& instance) {
  const auto sections = static_cast<std::size_t>(instance.sections);
  std::vector<std::size_t> ending(sections + 1, 0);
  std::vector<std::vector<std::size_t>> starting(sections);
  for (std::size_t v = 0; v < instance.buffers(); ++v) {
    const std::size_t weight =
        instance.pairwise() ? instance.rectangle_row[v + 1] - instance.rectangle_row[v] : 1;
    starting[static_cast<std::size_t>(instance.first_section[v])].push_back(weight);
    ending[static_cast<std::size_t>(instance.end_section[v])] += weight;
  }
  std::size_t alive = 0;
  std::size_t pairs = instance.rules.size();
  for (std::size_t s = 0; s < sections; ++s) {
    alive -= ending[s];
    for (const std::size_t weight : starting[s]) {
      pairs += weight * alive;
      alive += weight;
    }
  }
  return pairs;
}

}  // namespace planner::offsets
