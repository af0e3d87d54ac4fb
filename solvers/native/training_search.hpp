// Annealing over what a training step keeps: the frontier of peak against recomputation.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "control.hpp"
#include "mapping_random.hpp"
#include "training_blocks.hpp"
#include "training_model.hpp"
#include "training_state.hpp"

namespace planner::training {

struct WalkOptions {
  std::uint64_t seed = 0;
  std::int64_t target = 0;       // bytes
  std::int64_t evaluations = 0;  // moves to try
  double price = 0.0;            // picoseconds a byte above the target
  bool whole_profile = false;    // bytes above it are priced at each step, not at the peak alone
  double hottest = 0.0;          // temperatures, in picoseconds
  double coldest = 0.0;
};

struct Found {
  Choice choice;
  std::int64_t peak = 0, recompute = 0;
};

// Remembers the cheapest choice seen at each of many peaks, whatever it was looking for.
// Deterministic but for where the deadline cuts.
class TrainingSearch {
 public:
  // Peaks are told apart in parts of the greatest one.
  TrainingSearch(const TrainingModel& model, std::int64_t greatest_peak);

  // Evaluates the choice and remembers it.
  void offer(const Choice& choice);
  // Anneals recomputation plus priced bytes above the target, from the remembered choice that is
  // least in that.
  void walk(const WalkOptions& options, Control& control);
  // Choices that no other remembered one beats in both, by falling peak.
  std::vector<const Found*> frontier() const;
  std::int64_t evaluations() const { return evaluations_; }

 private:
  void remember();
  const Found* cheapest(const WalkOptions& options) const;
  double energy_now(const WalkOptions& options) const;
  void flip();
  std::int32_t any(const std::vector<std::int32_t>& from);
  bool open(std::int32_t s) const;
  std::int32_t neighbour(std::int32_t s);
  void propose();
  void propose_block(bool both);
  void propose_shift();
  void propose_like(std::int32_t f, std::int32_t pattern);

  const TrainingModel& model_;
  std::int64_t bin_bytes_;
  std::vector<std::optional<Found>> remembered_;  // by peak / bin_bytes_
  std::vector<Repetition> repetitions_;
  TrainingState state_;
  mapping::Random random_{0};
  std::int64_t evaluations_ = 0;
  std::vector<std::int32_t> storages_, operators_;  // to be flipped
  std::vector<std::int32_t> near_;
};

}  // namespace planner::training
