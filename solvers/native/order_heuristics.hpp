// List scheduling: always run the ready operator of the smallest key.
#pragma once

#include <cstdint>
#include <vector>

#include "order_model.hpp"

namespace planner::order {

using Order = std::vector<std::int32_t>;

enum class ListRule {
  kDefault,       // 0, 1, ..., n - 1
  kLeastLive,     // smallest growth of the live bytes first ("LPMF"), newest of those
  kDepthFirst,    // the operator that became ready last
  kBreadthFirst,  // the operator that became ready first
  kNoisy,         // as kLeastLive, growth blurred by up to two typical storage sizes
};

// Deterministic; the seed matters to kNoisy only. O((operators + edges) log operators).
Order list_order(const OrderModel& model, ListRule rule, std::uint64_t seed);

// Depth first against the edges: before an operator its predecessors, each with all it needs, in
// the order that is best if nothing is shared and the graph is a tree: largest need less what it
// leaves behind first (Liu, 1986). Good where many operators are ready from the start.
Order demand_order(const OrderModel& model);

// The transient of each operator when it runs in this (topological) order, by operator.
std::vector<std::int64_t> transients(const OrderModel& model, const Order& order);

// The peak: largest transient, and at least what is live before the first operator.
std::int64_t peak_of(const OrderModel& model, const Order& order);

// Whether the order holds every operator once, each after its predecessors.
bool is_topological(const OrderModel& model, const Order& order);

}  // namespace planner::order
