#include "offsets_shared.hpp"

namespace planner::offsets {

bool SharedBest::offer(const Packing& packing) {
  if (packing.height >= height()) return false;
  const std::lock_guard<std::mutex> lock(mutex_);
  if (packing.height >= height()) return false;
  offsets_ = packing.offsets;
  height_.store(packing.height, std::memory_order_release);
  return true;
}

void SharedBest::offer_bound(std::int64_t bound) {
  std::int64_t known = lower_bound();
  while (bound > known && !lower_bound_.compare_exchange_weak(known, bound)) {
  }
}

Packing SharedBest::packing() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return {offsets_, height()};
}

}  // namespace planner::offsets
