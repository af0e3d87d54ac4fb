// How the searches remember an order: the operators they branched on, and the level of each
// branch. What the closure committed to in between is found again by replaying.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "order_downset.hpp"
#include "order_heuristics.hpp"

namespace planner::order {

struct Branch {
  std::int64_t level;
  std::int32_t chosen;
};

inline Order replay(const OrderModel& model, std::int64_t start_level, bool dominance,
                    const std::vector<Branch>& branches) {
  Downset downset(model);
  Order order;
  if (dominance) downset.close(start_level, order);
  for (const Branch& branch : branches) {
    downset.run(branch.chosen);
    order.push_back(branch.chosen);
    if (dominance) downset.close(branch.level, order);
  }
  return order;
}

}  // namespace planner::order
