// Orders of pipeline passes from a rank of each pass, at true costs and within memory.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "control.hpp"

namespace planner::pipeline_blocks {

enum Kind : std::int32_t { kForward = 0, kBackward = 1, kWeight = 2, kKinds = 3 };

// Stages in the order of the forward pass. hop[s] lies between s and s + 1 on other devices.
struct Model {
  std::int32_t devices = 0;
  std::int32_t microbatches = 0;
  std::vector<std::int32_t> device_of;
  std::vector<std::int64_t> ticks[kKinds];
  std::vector<std::int64_t> hop;
  std::vector<std::int64_t> activation;
  std::vector<std::int64_t> kept;
  std::vector<std::int64_t> limit;

  std::int32_t stages() const { return static_cast<std::int32_t>(device_of.size()); }
};

// Where passes may leave the order of their ranks.
struct Policy {
  // By how much more rank a pass may overtake one that is not ready: before a device's first
  // backward pass, after its last forward pass, and in between.
  std::int64_t reach_at_start = 0;
  std::int64_t reach_at_end = 0;
  std::int64_t reach_between = 0;
  // A gradient of the weights waits for a gap, or until its memory is needed.
  bool lazy_weights = true;
  // In percent of its own time: how far a pass in a gap may delay the pass that the gap is before.
  std::int32_t weight_delay = 0;
  std::int32_t overtaking_delay = 0;
  // A device that a gap would make longer than this fills it with a gradient of the weights,
  // however long.
  std::int64_t longest_stage = 0;
};

struct Order {
  // Per device, kind * stages + stage, in order; microbatches of each count up.
  std::vector<std::vector<std::int32_t>> passes;
  std::int64_t longest_stage = 0;
  std::int64_t makespan = 0;
};

// Every device runs, whenever it is free, the pass of least rank that is ready and fits; what is
// not ready is waited for, but for gradients of weights, as far as the policy lets others overtake,
// and when all devices wait. `rank` holds one number per kind, stage and microbatch. Within the
// limits by construction. Nothing if a device has no room for one microbatch of each of its stages,
// or the control says stop.
std::optional<Order> order_by_rank(const Model& model, const std::int64_t* rank,
                                   const Policy& policy, Control& control);

}  // namespace planner::pipeline_blocks
