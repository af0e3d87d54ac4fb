#include "offsets_repair.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <numeric>
#include <utility>
#include <vector>

namespace planner::offsets {
namespace {

constexpr std::int64_t kNowhere = -1;

// How much more a section counts the fuller it is: (bytes / lower bound) to this power.
constexpr double kCriticality = 30.0;

// Steps down, as fractions of the lower bound.
constexpr std::int64_t kFirstStep = 200;
constexpr std::int64_t kLastStep = 5'000;

// Buffers in order of start, so that those that start in a range of sections lie side by side.
class Repair {
 public:
  Repair(const Instance& instance, const RepairLimits& limits)
      : instance_(instance), limits_(limits) {
    const std::size_t n = instance.buffers();
    by_start_.resize(n);
    std::iota(by_start_.begin(), by_start_.end(), 0);
    std::stable_sort(by_start_.begin(), by_start_.end(), [&](std::int32_t u, std::int32_t v) {
      return instance.first_section[index(u)] < instance.first_section[index(v)];
    });
    const auto sections = static_cast<std::size_t>(instance.sections);
    started_before_.assign(sections + 1, 0);
    std::vector<double> critical(sections + 1, 0.0);  // prefix sums
    for (std::size_t s = 0; s < sections; ++s) {
      critical[s + 1] =
          critical[s] + std::pow(static_cast<double>(instance.section_bytes[s]) /
                                     static_cast<double>(instance.lower_bound),
                                 kCriticality);
    }
    double lifetimes = 0.0;
    for (std::int32_t buffer : by_start_) {
      const std::size_t v = index(buffer);
      buffers_.push_back({kNowhere, instance.padded_size[v], instance.first_section[v],
                          instance.end_section[v]});
      const double criticality = critical[index(instance.end_section[v])] -
                                 critical[index(instance.first_section[v])];
      area_.push_back(static_cast<double>(instance.padded_size[v]) * criticality);
      ++started_before_[index(instance.first_section[v]) + 1];
      lifetimes += static_cast<double>(instance.end_section[v] - instance.first_section[v]);
    }
    std::partial_sum(started_before_.begin(), started_before_.end(), started_before_.begin());

    // So wide that the lists hold a few entries a buffer.
    block_ = static_cast<std::int32_t>(
        std::clamp(lifetimes / (4.0 * static_cast<double>(n)), 1.0, static_cast<double>(sections)));
    alive_.resize(sections / index(block_) + 1);
    for (std::size_t i = 0; i < n; ++i) {
      for (std::int32_t k = buffers_[i].first / block_ + 1; k * block_ < buffers_[i].end; ++k) {
        alive_[index(k)].push_back(static_cast<std::int32_t>(i));
      }
    }
  }

  // Whether it found a packing not higher than `target`; then offsets() has it.
  bool reach(const Packing& packing, std::int64_t target, Control& control) {
    target_ = target;
    weight_ = area_;
    adrift_.clear();
    for (std::size_t i = 0; i < buffers_.size(); ++i) {
      const std::size_t v = index(by_start_[i]);
      buffers_[i].offset = packing.offsets[v];
      if (packing.offsets[v] + instance_.size[v] > target) set_adrift(static_cast<std::int32_t>(i));
    }
    const std::size_t most_adrift = adrift_.size() + limits_.adrift;
    const std::uint64_t end_of_work = std::min(work_ + limits_.attempt, limits_.work);
    while (!adrift_.empty()) {
      if (work_ > end_of_work || adrift_.size() > most_adrift || control.stop_now()) {
        return false;
      }
      std::pop_heap(adrift_.begin(), adrift_.end(), Lighter{weight_});
      const std::int32_t buffer = adrift_.back();
      adrift_.pop_back();
      find_obstacles(buffer);
      if (!settle(buffer) && !displace(buffer)) return false;
    }
    return true;
  }

  std::vector<std::int64_t> offsets() const {
    std::vector<std::int64_t> offsets(buffers_.size());
    for (std::size_t i = 0; i < buffers_.size(); ++i) {
      offsets[index(by_start_[i])] = buffers_[i].offset;
    }
    return offsets;
  }

  std::uint64_t work() const { return work_; }

 private:
  struct Placed {
    std::int64_t offset, size;
    std::int32_t first, end;  // sections
  };

  // Offsets strictly between `low` and `high` are taken by a buffer.
  struct Obstacle {
    std::int64_t low, high;
    std::int32_t buffer;
  };

  struct Lighter {
    const std::vector<double>& weight;
    bool operator()(std::int32_t u, std::int32_t v) const {
      const double x = weight[static_cast<std::size_t>(u)];
      const double y = weight[static_cast<std::size_t>(v)];
      return x != y ? x < y : u < v;
    }
  };

  static std::size_t index(std::int32_t i) { return static_cast<std::size_t>(i); }

  void set_adrift(std::int32_t buffer) {
    buffers_[index(buffer)].offset = kNowhere;
    adrift_.push_back(buffer);
    std::push_heap(adrift_.begin(), adrift_.end(), Lighter{weight_});
  }

  // Fills obstacles_, in ascending order.
  void find_obstacles(std::int32_t buffer) {
    obstacles_.clear();
    const Placed& own = buffers_[index(buffer)];
    const std::int32_t block = own.first / block_;
    auto look_at = [&](std::int32_t i) {
      const Placed& other = buffers_[index(i)];
      if (other.offset != kNowhere && other.end > own.first) {
        obstacles_.push_back({other.offset - own.size, other.offset + other.size, i});
      }
    };
    for (std::int32_t i : alive_[index(block)]) look_at(i);
    const std::int32_t end = started_before_[index(own.end)];
    for (std::int32_t i = started_before_[index(block * block_)]; i < end; ++i) look_at(i);
    work_ += alive_[index(block)].size() + 4 * obstacles_.size() +
             index(end - started_before_[index(block * block_)]);
    std::sort(obstacles_.begin(), obstacles_.end(), [](const Obstacle& x, const Obstacle& y) {
      return x.low != y.low ? x.low < y.low : x.buffer < y.buffer;
    });
  }

  std::int64_t highest_offset(std::int32_t buffer) const {
    return target_ - instance_.size[index(by_start_[index(buffer)])];
  }
  std::int64_t alignment(std::int32_t buffer) const {
    return instance_.alignment[index(by_start_[index(buffer)])];
  }

  // Places the buffer where nothing has to move.
  bool settle(std::int32_t buffer) {
    std::int64_t offset = 0;
    for (const Obstacle& obstacle : obstacles_) {
      if (obstacle.low >= offset) break;
      if (obstacle.high > offset) offset = round_up(obstacle.high, alignment(buffer));
    }
    if (offset > highest_offset(buffer)) return false;
    buffers_[index(buffer)].offset = offset;
    return true;
  }

  // Places the buffer where what has to move weighs least. False if it is higher than the target.
  bool displace(std::int32_t buffer) {
    const std::int64_t highest = highest_offset(buffer);
    if (highest < 0) return false;
    const std::int64_t unit = alignment(buffer);
    by_high_.clear();
    for (const Obstacle& obstacle : obstacles_) {
      by_high_.push_back({obstacle.high, weight_[index(obstacle.buffer)]});
    }
    std::sort(by_high_.begin(), by_high_.end());

    // Both kinds of candidates, on top of an obstacle and right below one, come in ascending order.
    double least = std::numeric_limits<double>::max();
    std::int64_t best = 0;
    std::size_t begun = 0;
    std::size_t ended = 0;
    double moved = 0.0;
    auto consider = [&](std::int64_t candidate) {
      for (; begun < obstacles_.size() && obstacles_[begun].low < candidate; ++begun) {
        moved += weight_[index(obstacles_[begun].buffer)];
      }
      for (; ended < by_high_.size() && by_high_[ended].first <= candidate; ++ended) {
        moved -= by_high_[ended].second;
      }
      if (moved < least) {
        least = moved;
        best = candidate;
      }
    };
    consider(0);
    for (const auto& [high, weight] : by_high_) {
      if (const std::int64_t above = round_up(high, unit); above <= highest) consider(above);
    }
    begun = ended = 0;
    moved = 0.0;
    for (const Obstacle& obstacle : obstacles_) {
      if (obstacle.low >= 0 && obstacle.low <= highest) {
        consider(obstacle.low - obstacle.low % unit);
      }
    }
    consider(highest - highest % unit);
    weight_[index(buffer)] *= limits_.escalation;
    buffers_[index(buffer)].offset = best;
    for (const Obstacle& obstacle : obstacles_) {
      if (obstacle.low >= best) break;
      if (obstacle.high <= best) continue;
      weight_[index(obstacle.buffer)] *= limits_.escalation;
      set_adrift(obstacle.buffer);
    }
    return true;
  }

  const Instance& instance_;
  const RepairLimits limits_;
  std::vector<std::int32_t> by_start_;  // indices of the instance; all else counts this way
  std::vector<Placed> buffers_;
  std::vector<double> area_, weight_;
  std::vector<std::int32_t> started_before_;  // each section
  std::int32_t block_ = 1;                    // sections between lists
  std::vector<std::vector<std::int32_t>> alive_;  // at the beginning of each block and before it
  std::int64_t target_ = 0;
  std::vector<std::int32_t> adrift_;  // heap, the heaviest on top
  std::vector<Obstacle> obstacles_;   // of the buffer in hand
  std::vector<std::pair<std::int64_t, double>> by_high_;
  std::uint64_t work_ = 0;
};

}  // namespace

bool repair(const Instance& instance, Packing& packing, std::int64_t goal, RepairLimits limits,
            Control& control) {
  goal = std::max(goal, instance.lower_bound);
  if (packing.height <= goal) return false;
  Repair attempts(instance, limits);
  const std::int64_t start = packing.height;
  std::int64_t step = std::max<std::int64_t>(1, instance.lower_bound / kFirstStep);
  const std::int64_t last_step = std::max<std::int64_t>(1, instance.lower_bound / kLastStep);
  while (packing.height > goal && attempts.work() < limits.work && !control.stop_now()) {
    const std::uint64_t before = attempts.work();
    if (attempts.reach(packing, std::max(goal, packing.height - step), control)) {
      packing.offsets = attempts.offsets();
      packing.height = packing_height(instance, packing.offsets);
      if (attempts.work() - before < limits.attempt / 4) step *= 2;
    } else if (step > last_step) {
      step /= 2;
    } else {
      break;
    }
  }
  return packing.height < start;
}

}  // namespace planner::offsets
