// How the tree of LevelOracle goes on from an order that does not keep the levels.
#include <algorithm>

#include "spill_levels.hpp"

namespace planner::joint {

// What to settle next, given that there is an order with these choices.
LevelOracle::Step LevelOracle::next_step(const Levels& levels, const Choices& choices) {
  Node& here = node(choices);
  const order::Order order = here.oracle->order();
  std::vector<std::int32_t> step_of(index(model_.operators));
  for (std::size_t i = 0; i < order.size(); ++i)
    step_of[index(order[i])] = static_cast<std::int32_t>(i);
  const Residency residency = reside(model_, order, absent_at(levels), here.groups);
  keep_if_better(order, residency);
  Step step = step_of_uncounted(levels, choices, here, order, step_of);
  if (step.storage >= 0) return step;
  std::int32_t next = -1;
  std::int64_t most_excess = 0;
  for (std::int32_t s = 0; s < model_.storages(); ++s) {
    if (!is_limited(levels, s)) continue;
    const std::int64_t excess =
        (residency.absences[index(s)] - levels[index(s)]) * model_.read_cost(s);
    if (excess <= most_excess) continue;
    Step candidate = step_of_pairs(choices, s, levels[index(s)], residency, step_of);
    if (candidate.storage < 0) continue;
    most_excess = excess;
    next = s;
    step = std::move(candidate);
  }
  return next < 0 ? Step{} : step;
}

// A user that the order leaves uncounted although it does not run during the stay in question.
LevelOracle::Step LevelOracle::step_of_uncounted(const Levels& levels, const Choices& choices,
                                                 const Node& node, const order::Order& order,
                                                 const std::vector<std::int32_t>& step_of) {
  if (node.uncounted.empty()) return {};
  std::vector<std::pair<std::int32_t, std::int32_t>> inside, outside;
  for (const auto& user : node.uncounted) {
    const std::int32_t at = step_of[index(user.second)];
    const bool is_inside =
        std::any_of(node.groups.begin(), node.groups.end(), [&](const Group& group) {
          bool begun = group.from_beginning, wanted = group.to_end;
          for (const std::int32_t v : group.operators) {
            begun = begun || step_of[index(v)] < at;
            wanted = wanted || step_of[index(v)] > at;
          }
          return group.storage == user.first && begun && wanted;
        });
    (is_inside ? inside : outside).push_back(user);
  }
  if (outside.empty()) return {};
  const JointModel counted = with_groups(model_, node.groups, inside);
  std::vector<char> absent = absent_at(levels);
  absent.resize(absent.size() + node.groups.size(), 0);
  const std::vector<std::int64_t> transients =
      order::transients(ordering(counted, absent), order);
  std::pair<std::int32_t, std::int32_t> worst{-1, -1};
  std::int64_t most_bytes = model_.capacity;
  for (const auto& user : outside) {
    if (transients[index(user.second)] <= most_bytes) continue;
    most_bytes = transients[index(user.second)];
    worst = user;
  }
  if (worst.first < 0) return {};
  const StayRules& known = rules(worst.first);
  const Stays here = stays(choices, worst.first);
  for (const auto& [point, group] : known.undecided(here)) {
    if (known.points()[index(point)].operators.front() != worst.second) continue;
    Step step{worst.first, {}, false};
    for (auto& settled : {known.parted(here, point, group), known.joined(here, point, group)})
      if (settled)
        step.branches.push_back(*settled);
      else
        step.by_level = true;
    return step;
  }
  return {};
}

// Points of level + 2 stays of the order: two of them have to share one.
LevelOracle::Step LevelOracle::step_of_pairs(const Choices& choices, std::int32_t storage,
                                             std::int32_t level, const Residency& residency,
                                             const std::vector<std::int32_t>& step_of) {
  std::vector<std::int32_t> returns;
  for (const Absence& gap : residency.gaps)
    if (gap.storage == storage) returns.push_back(gap.last);
  const StayRules& known = rules(storage);
  const Stays here = stays(choices, storage);
  const std::size_t count = known.points().size();
  const std::size_t wanted = static_cast<std::size_t>(level) + 2;
  std::vector<std::int32_t> stay_of(count, 0);
  for (std::size_t i = 0; i < count; ++i) {
    const Group& point = known.points()[i];
    for (const std::int32_t at : returns)
      if (point.to_end || (!point.from_beginning && at <= step_of[index(point.operators.front())]))
        ++stay_of[i];
  }
  // Groups come first: no pair but these may be in one stay without being one group.
  std::vector<std::int32_t> chosen, single(returns.size() + 1, -1);
  for (std::int32_t c = 0; c < static_cast<std::int32_t>(count); ++c)
    if (here.class_of[index(c)] == c && known.is_group(here, c)) chosen.push_back(c);
  for (std::int32_t c = 0; c < static_cast<std::int32_t>(count); ++c) {
    std::int32_t& place = single[index(stay_of[index(c)])];
    if (here.class_of[index(c)] == c && place < 0 && !known.is_group(here, c)) place = c;
  }
  for (const std::int32_t c : chosen) single[index(stay_of[index(c)])] = -1;
  const std::size_t groups = chosen.size();
  single.erase(std::remove(single.begin(), single.end(), -1), single.end());
  if (groups < wanted) {
    const std::size_t missing = wanted - groups;
    if (single.size() < missing) return {};
    // Far apart, which the fewest orders allow to join.
    for (std::size_t i = 0; i < missing; ++i)
      chosen.push_back(single[missing == 1 ? 0 : i * (single.size() - 1) / (missing - 1)]);
  }
  Step step{storage, {}, false};
  Stays rest = here;
  for (std::size_t second = 1; second < chosen.size(); ++second)
    for (std::size_t first = 0; first < second; ++first) {
      const std::int32_t a = chosen[first], b = chosen[second];
      if (auto settled = known.joined(rest, a, b))
        step.branches.push_back(std::move(*settled));
      else
        step.by_level = true;
      if (auto parted = known.parted(rest, a, b)) rest = std::move(*parted);
    }
  if (step.branches.empty()) step.by_level = true;
  return step;
}

}  // namespace planner::joint
