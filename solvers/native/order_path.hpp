// How the searches move through the downsets, and how they remember an order: the operators they
// branched on, and the level of each branch. The rest is found again by replaying.
#pragma once

#include <cstdint>
#include <vector>

#include "order_downset.hpp"
#include "order_heuristics.hpp"

namespace planner::order {

// What the searches know about which operators to try next; off for ablation.
struct Rules {
  bool chains = true;  // Downset::close
  bool climbs = true;  // Downset::climb
};

struct Branch {
  std::int64_t level;
  std::int32_t chosen;
};

// What a branch at the ready operator v begins with goes to `first`. Returns the largest transient
// on the way, or Downset::kWaits if there is no need to try v now.
inline std::int64_t begin_branch(Downset& downset, std::int32_t v, Rules rules,
                                 std::vector<std::int32_t>& first) {
  if (rules.climbs) return downset.climb(v, first);
  first.assign(1, v);
  return downset.transient(v);
}

// Runs what begin_branch found, and what the level then makes safe; appends that to `trail`.
inline void finish_branch(Downset& downset, std::int64_t level, Rules rules,
                          std::vector<std::int32_t>& trail) {
  for (const std::int32_t v : trail) downset.run(v);
  if (rules.chains) downset.close(level, trail);
}

inline Order replay(const OrderModel& model, std::int64_t start_level, Rules rules,
                    const std::vector<Branch>& branches) {
  Downset downset(model);
  Order order;
  std::vector<std::int32_t> trail;
  finish_branch(downset, start_level, rules, order);
  for (const Branch& branch : branches) {
    begin_branch(downset, branch.chosen, rules, trail);
    finish_branch(downset, branch.level, rules, trail);
    order.insert(order.end(), trail.begin(), trail.end());
  }
  return order;
}

}  // namespace planner::order
