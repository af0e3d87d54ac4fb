// When the passes of a schedule run, and what that costs.
#pragma once

#include <cstdint>
#include <vector>

#include "pipeline_model.hpp"

namespace planner::pipeline {

struct Timing {
  bool deadlock = false;
  std::vector<std::int64_t> start;     // per pass
  std::vector<std::int32_t> sequence;  // all passes, each after those it waits for
  std::vector<std::int64_t> release;   // per device, before which its first pass does not start
  std::int64_t cost = kNever;          // what the model's objective counts
};

// The earliest starts, first passes not before `release` (empty: 0).
Timing earliest(const PipelineModel& model, const Order& order,
                const std::vector<std::int64_t>& release);

// As `earliest`; if the longest stage counts, with first passes delayed to where it is least.
Timing best_timing(const PipelineModel& model, const Order& order);

}  // namespace planner::pipeline
