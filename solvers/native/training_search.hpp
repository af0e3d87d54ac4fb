// Annealing over what a training step keeps, for the least recomputation within a peak.
#pragma once

#include <cstdint>

#include "control.hpp"
#include "training_model.hpp"

namespace planner::training {

struct SearchOptions {
  std::uint64_t seed = 0;
  std::int64_t target = 0;       // bytes
  std::int64_t evaluations = 0;  // moves to try
  double price = 0.0;            // picoseconds a byte above the target
  double hottest = 0.0;          // temperatures, in picoseconds
  double coldest = 0.0;
};

struct SearchResult {
  Choice choice;
  std::int64_t peak = 0, recompute = 0;
  std::int64_t evaluations = 0;
};

// The best by (bytes above the target, recomputation) of all choices seen, the start among them.
// Deterministic but for where the deadline cuts.
SearchResult anneal(const TrainingModel& model, const Choice& start, const SearchOptions& options,
                    Control& control);

}  // namespace planner::training
