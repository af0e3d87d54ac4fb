// From the model to an order and a bound: heuristics, parts, cuts, exact search, beam.
#pragma once

#include <cstdint>

#include "control.hpp"
#include "order_model.hpp"
#include "order_path.hpp"

namespace planner::order {

struct SolveOptions {
  double time_limit_s = 0.0;
  std::uint64_t seed = 0;
  Rules rules;
  bool decompose = true;   // split at operators that are comparable with all others
  std::int64_t memory_bytes = 0;  // for the states of the search
};

struct SolveResult {
  Order order;
  std::int64_t peak = 0;
  std::int64_t bound = 0;     // proven; equal to the peak when the order is optimal
  std::int64_t footprint_bound = 0;
  std::int64_t cut_bound = 0;  // after the cuts, before any search
  std::int64_t parts = 0;      // those that leave a choice
  std::int64_t searched = 0;   // of these, the ones that needed the search
  std::int64_t states = 0;
  std::int64_t expanded = 0;
  std::int64_t cuts = 0;
  std::int64_t decisions = 0;
  std::int64_t beams = 0;
  double heuristics_cpu_s = 0.0;
  double bound_cpu_s = 0.0;
  double search_cpu_s = 0.0;
};

// The order is never worse than `incumbent`, if it is not empty (then it must be topological).
SolveResult solve(const OrderModel& model, const Order& incumbent, const SolveOptions& options,
                  const CancelFlag* cancel);

}  // namespace planner::order
