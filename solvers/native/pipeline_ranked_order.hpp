// Orders of pipeline passes from a rank of each pass, at true costs and within memory.
#pragma once

#include <cstdint>
#include <optional>

#include "control.hpp"
#include "pipeline_model.hpp"

namespace planner::pipeline {

// Where passes may leave the order of their ranks.
struct RankPolicy {
  // By how much more rank a pass may overtake one that is not ready: before a device's first
  // backward pass, after its last forward pass, and in between.
  std::int64_t reach_at_start = 0;
  std::int64_t reach_at_end = 0;
  std::int64_t reach_between = 0;
  // A gradient of the weights waits for a gap, or until its memory is needed.
  bool lazy_weights = true;
  // In percent of its own time: how far a gradient of the weights in a gap may delay the pass that
  // the gap is before.
  std::int32_t weight_delay = 0;
  // A device that a gap would make longer than this fills it with a gradient of the weights,
  // however long.
  std::int64_t longest_stage = 0;
};

struct RankedOrder {
  Order order;
  std::int64_t longest_stage = 0;
  std::int64_t makespan = 0;
};

// Every device runs, whenever it is free, the pass of least rank that is ready and fits; what is
// not ready is waited for, but for gradients of weights, as far as the policy lets others overtake,
// and when all devices wait. `rank` holds one number per pass. Within the limits by construction.
// Nothing if a device has no room for one microbatch of each of its stages, or the control says
// stop.
//
// ListScheduler orders by target ticks and patience in time; here ranks are slots without a length,
// so how far a pass may leave its place is told in slots.
std::optional<RankedOrder> order_by_rank(const PipelineModel& model, const std::int64_t* rank,
                                         const RankPolicy& policy, Control& control);

}  // namespace planner::pipeline
