// The classical greedy choice of what a training step drops.
#pragma once

#include <cstdint>

#include "control.hpp"
#include "training_model.hpp"

namespace planner::training {

// While the peak is above the target, stops saving the storage with most bytes per picosecond of
// further recomputation, of all that cross the halves; the best choice by (bytes above the target,
// recomputation) on the way.
Choice drop_greedily(const TrainingModel& model, const Choice& start, std::int64_t target,
                     Control& control);

}  // namespace planner::training
