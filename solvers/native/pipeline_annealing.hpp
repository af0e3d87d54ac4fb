// Annealing over the orders of a pipeline's devices.
#pragma once

#include <cstdint>
#include <vector>

#include "control.hpp"
#include "pipeline_model.hpp"

namespace planner::pipeline {

struct AnnealingOptions {
  std::uint64_t seed = 0;
  std::int64_t steps = 0;   // moves to try
  double hottest = 0.02;    // temperatures, in ticks of the busiest device per microbatch
  double coldest = 0.0005;
  std::int64_t goal = 0;    // a cost that cannot be beaten
};

struct AnnealingResult {
  Order order;
  std::int64_t cost = kNever;  // with the releases that the walk was given
  std::int64_t steps = 0, evaluations = 0, accepted = 0;
};

// From `start`, a legal order, with first passes not before `release` (one a device).
// Deterministic but for where the deadline cuts.
AnnealingResult anneal(const PipelineModel& model, const Order& start,
                       const std::vector<std::int64_t>& release, const AnnealingOptions& options,
                       Control& control);

}  // namespace planner::pipeline
