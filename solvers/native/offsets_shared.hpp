// The best packing of one problem and the best bound on it, shared by solvers that race.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <vector>

#include "offsets_greedy.hpp"

namespace planner::offsets {

// Any thread may call anything. What is offered has to be legal, or proven, for the problem.
class SharedBest {
 public:
  static constexpr std::int64_t kNoHeight = std::int64_t{1} << 62;

  // True if the packing is lower than what was there.
  bool offer(const Packing& packing);

  // A proven bound on the height of every packing.
  void offer_bound(std::int64_t bound);

  std::int64_t height() const { return height_.load(std::memory_order_acquire); }
  std::int64_t lower_bound() const { return lower_bound_.load(std::memory_order_acquire); }

  // Without offsets while there is none.
  Packing packing() const;

 private:
  std::atomic<std::int64_t> height_{kNoHeight};
  std::atomic<std::int64_t> lower_bound_{0};
  mutable std::mutex mutex_;  // of the packing; the height follows it
  std::vector<std::int64_t> offsets_;
};

}  // namespace planner::offsets
