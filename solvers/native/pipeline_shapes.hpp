// List schedules by targets on straight lines: presets, random ones, and mutations of the best.
#pragma once

#include <cstdint>
#include <vector>

#include "control.hpp"
#include "pipeline_model.hpp"

namespace planner::pipeline {

struct ShapeOptions {
  std::uint64_t seed = 0;
  std::int64_t schedules = 0;  // how many to construct at most
  std::int32_t keep = 1;       // how many to hand back
  std::int64_t goal = 0;       // a cost that cannot be beaten
};

struct Scheduled {
  std::int64_t cost = kNever;  // by earliest starts
  Order order;
};

struct ShapeResult {
  std::vector<Scheduled> best;  // of different costs, the least first
  std::int64_t schedules = 0;
};

// The first of them are presets, the same for every seed. Empty only if no schedule fits the
// limits. Deterministic but for where the deadline cuts.
ShapeResult schedule_shapes(const PipelineModel& model, const ShapeOptions& options,
                            Control& control);

}  // namespace planner::pipeline
