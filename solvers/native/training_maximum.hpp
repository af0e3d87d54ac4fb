// The maximum of a sequence under additions to ranges.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace planner::training {

// A bottom-up segment tree without pushing: node i holds the maximum of its range, less what was
// added to whole ranges above it.
class RangeMaximum {
 public:
  explicit RangeMaximum(std::int32_t count) {
    while (leaves_ < static_cast<std::size_t>(count)) leaves_ *= 2;
    maximum_.assign(2 * leaves_, 0);
    added_.assign(2 * leaves_, 0);
  }

  void clear() {
    std::fill(maximum_.begin(), maximum_.end(), 0);
    std::fill(added_.begin(), added_.end(), 0);
  }

  // Adds to [first, last).
  void add(std::int32_t first, std::int32_t last, std::int64_t value) {
    if (first >= last || value == 0) return;
    std::size_t low = static_cast<std::size_t>(first) + leaves_;
    std::size_t high = static_cast<std::size_t>(last) + leaves_;
    const std::size_t left = low;
    const std::size_t right = high - 1;
    for (; low < high; low /= 2, high /= 2) {
      if (low % 2 == 1) apply(low++, value);
      if (high % 2 == 1) apply(--high, value);
    }
    repair(left);
    if (right != left) repair(right);
  }

  std::int64_t maximum() const { return maximum_[1]; }

  // Sum over places of what exceeds the limit; floating, for so many places can exceed 2**63.
  double excess(std::int64_t limit) const { return excess(1, limit); }

 private:
  void apply(std::size_t node, std::int64_t value) {
    maximum_[node] += value;
    added_[node] += value;
  }

  void repair(std::size_t leaf) {
    for (std::size_t node = leaf / 2; node >= 1; node /= 2) {
      maximum_[node] = std::max(maximum_[2 * node], maximum_[2 * node + 1]) + added_[node];
    }
  }

  double excess(std::size_t node, std::int64_t limit) const {
    if (maximum_[node] <= limit) return 0.0;
    if (node >= leaves_) return static_cast<double>(maximum_[node] - limit);
    const std::int64_t below = limit - added_[node];
    return excess(2 * node, below) + excess(2 * node + 1, below);
  }

  std::size_t leaves_ = 1;
  std::vector<std::int64_t> maximum_, added_;
};

}  // namespace planner::training
