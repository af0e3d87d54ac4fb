// Annealing over orders, for least traffic by capacity alone.
#pragma once

#include <cstdint>
#include <vector>

#include "control.hpp"
#include "joint_eviction.hpp"

namespace planner::joint {

struct AnnealingOptions {
  std::uint64_t seed = 0;
  std::int64_t most_evaluations = 0;  // 0: until the deadline
  std::int64_t goal = 0;              // traffic that cannot be beaten
};

struct AnnealingResult {
  Order order;  // empty if none of the starts fits and none was found
  std::int64_t traffic = kDoesNotFit;
  std::int64_t evaluations = 0;
  std::int64_t accepted = 0;
  std::int64_t rounds = 0;
};

// Starts from the best of `starts` (topological orders, at least one; none if there are no
// operators). Deterministic but for where the deadline cuts.
AnnealingResult anneal(const JointModel& model, const std::vector<Order>& starts,
                       const AnnealingOptions& options, Control& control);

}  // namespace planner::joint
