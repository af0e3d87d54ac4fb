// Greedy offset assignment: many orders, two kinds of fit, the lowest packing wins.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "control.hpp"
#include "offsets_instance.hpp"

namespace planner::offsets {

struct Packing {
  std::vector<std::int64_t> offsets;
  std::int64_t height = 0;
};

struct GreedyResult {
  Packing packing;
  std::string order;  // the order and fit that gave the packing
};

// Highest used address of a packing.
std::int64_t packing_height(const Instance& instance, const std::vector<std::int64_t>& offsets);

// Packs one component; stops at the first packing not higher than `good_enough` or the instance's
// bound. `hint` is empty or has an offset for each buffer; the order they imply is tried first, and
// gives a packing that is nowhere above the hint if the hint is legal. A sweep with a free list
// comes before all that and takes no notice of the control, so that there always is a packing.
// Unless the control stops it, the result is no higher than what TensorFlow Lite and TensorFlow
// Lite Micro come to. Large instances are also packed by skyline and repaired.
GreedyResult pack_greedily(const Instance& instance, const std::vector<std::int64_t>& hint,
                           std::int64_t good_enough, Control& control);

}  // namespace planner::offsets
