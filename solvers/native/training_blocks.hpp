// Stretches of a training step's forward half that repeat, as the layers of a network do.
#pragma once

#include <cstdint>
#include <vector>

#include "training_model.hpp"

namespace planner::training {

// Operators first + i + k * period, for k < count, look alike: durations, sizes, operands.
struct Repetition {
  std::int32_t first = 0, period = 0, count = 0;
};

// Disjoint, ascending; each covers as many operators as any, of the shortest period that does.
std::vector<Repetition> find_repetitions(const TrainingModel& model);

}  // namespace planner::training
