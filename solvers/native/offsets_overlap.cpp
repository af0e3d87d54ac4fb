#include "offsets_overlap.hpp"

#include <algorithm>
#include <array>
#include <limits>
#include <memory>
#include <numeric>
#include <stdexcept>
#include <utility>

namespace planner::offsets {
namespace {

// A buffer that moved rests for up to so many steps, lest two change places for ever.
constexpr std::uint32_t kRest = 10;

// The first height aimed at is so much above the bound: the way down from there is short, and
// what the weights learn on it is worth more than a start at the greedy packing's height.
constexpr std::int64_t kCoarseShare = 28;

// Every second turn is the lowest trajectory's, the others take the rest by turns.
constexpr std::size_t kTrajectories = 4;
constexpr std::int64_t kStepsATurn = 1 << 14;

// One of the others begins anew once its weights have risen by so much on average without success,
// or twice that every second time, four times that every fourth time and so on.
constexpr std::int64_t kPatience = 64;

// All give up after so many steps without success, times the square of the pairs: in practice only
// on small instances.
constexpr std::int64_t kMostSteps = 1000;

}  // namespace

OverlapPairs::OverlapPairs(const Instance& instance) {
  if (instance.constrained() && !instance.only_overwrites) {
    throw std::invalid_argument("squeezing takes no constraints but overwrites");
  }
  for (std::int64_t size : instance.padded_size) unit = std::gcd(unit, size);
  unit = std::max<std::int64_t>(unit, 1);
  for (std::int64_t alignment : instance.alignment) {
    if (unit % alignment != 0) throw std::invalid_argument("sizes are no multiples of alignments");
  }
  if (instance.lower_bound / unit > kMostUnits) throw std::invalid_argument("too many units");
  if (conflicting_pairs(instance) > kMostPairs) throw std::invalid_argument("too many pairs");
  for (std::int64_t padded : instance.padded_size) {
    size.push_back(static_cast<std::int32_t>(padded / unit));
  }
  conflicts = conflict_graph(instance);
  pair.resize(conflicts.neighbour.size());
  auto first = [&](std::size_t v) {
    return conflicts.neighbour.begin() + static_cast<std::ptrdiff_t>(conflicts.row[v]);
  };
  for (std::size_t v = 0; v < size.size(); ++v) std::sort(first(v), first(v + 1));
  overwrites.assign(conflicts.neighbour.size(), 0);
  for (const PairRule& rule : instance.rules) {
    for (const auto& [u, v] :
         {std::pair{rule.first, rule.second}, std::pair{rule.second, rule.first}}) {
      const auto row = static_cast<std::size_t>(u);
      const auto entry = std::lower_bound(first(row), first(row + 1), v);
      overwrites[static_cast<std::size_t>(entry - conflicts.neighbour.begin())] = 1;
    }
  }
  // Rows ascend, so each buffer meets its lower neighbours in the order of its own row.
  std::vector<std::size_t> next(conflicts.row.begin(), conflicts.row.end());
  for (std::size_t u = 0; u < size.size(); ++u) {
    for (std::size_t e = next[u]; e < conflicts.row[u + 1]; ++e) {
      const auto v = static_cast<std::size_t>(conflicts.neighbour[e]);
      pair[e] = pair[next[v]++] = count++;
    }
  }
}

OverlapSearch::OverlapSearch(const Instance& instance, const OverlapPairs& pairs)
    : instance_(instance),
      pairs_(pairs),
      weight_(pairs.count),
      offset_(instance.buffers()),
      cost_(instance.buffers()),
      place_(instance.buffers(), -1),
      resting_until_(instance.buffers()) {}

void OverlapSearch::begin(const std::vector<std::int64_t>& offsets, std::int64_t height,
                          std::uint64_t seed) {
  random_.seed(seed);
  std::fill(weight_.begin(), weight_.end(), 1);
  std::fill(resting_until_.begin(), resting_until_.end(), 0);
  steps_ = 0;
  lowest_ = std::numeric_limits<std::int64_t>::max();
  // Rounding down keeps what is legal legal: all sizes are multiples of the unit.
  for (std::size_t v = 0; v < offset_.size(); ++v) {
    offset_[v] = static_cast<std::int32_t>(
        std::min<std::int64_t>(offsets[v] / pairs_.unit, height / pairs_.unit));
  }
  squeeze(height);
}

bool OverlapSearch::run(std::int64_t steps, Control& control) {
  for (std::int64_t end = steps_ + steps; !overlapping_.empty() && steps_ < end;) {
    if (control.stop()) return false;
    step();
  }
  return overlapping_.empty();
}

Packing OverlapSearch::packing() {
  Packing packing{std::vector<std::int64_t>(offset_.size()), 0};
  for (std::size_t v = 0; v < offset_.size(); ++v) packing.offsets[v] = offset_[v] * pairs_.unit;
  packing.height = lowest_ = packing_height(instance_, packing.offsets);
  return packing;
}

// Pushes what sticks out above the height down to it.
void OverlapSearch::squeeze(std::int64_t height) {
  risen_ = 0;
  height_ = static_cast<std::int32_t>(height / pairs_.unit);
  for (std::size_t v = 0; v < offset_.size(); ++v) {
    offset_[v] = std::max(0, std::min(offset_[v], height_ - pairs_.size[v]));
  }
  recount();
}

void OverlapSearch::step() {
  ++steps_;
  const std::int32_t buffer = overlapping_[random_() % overlapping_.size()];
  if (resting_until_[index(buffer)] > steps_) return;
  const bool elsewhere = least_cost_offset(buffer);
  if (!elsewhere || best_cost_ >= cost_[index(buffer)]) {
    const bool sideways = elsewhere && best_cost_ == cost_[index(buffer)];
    weigh_overlaps(buffer);
    if (!sideways) return;
  }
  move(buffer, best_offset_);
  resting_until_[index(buffer)] = steps_ + 1 + random_() % kRest;
}

// Where the buffer costs least, except where it is; any of several such offsets. The cost is
// piecewise linear: with each neighbour it rises from where they touch, by the smaller size, and
// falls again; of an overwrite it is nothing at the neighbour's own offset. False if there is nowhere else.
bool OverlapSearch::least_cost_offset(std::int32_t buffer) {
  const std::size_t v = index(buffer);
  const std::int32_t size = pairs_.size[v];
  const std::int32_t highest = height_ - size;
  bend_.assign(index(highest) + 1, 0);
  if (!instance_.rules.empty()) dip_.assign(index(highest) + 1, 0);
  std::int64_t cost = 0;
  std::int64_t slope = 0;
  auto bend = [&](std::int32_t offset, std::int64_t change) {
    if (offset <= 0) {
      slope += change;
    } else if (offset <= highest) {
      bend_[index(offset)] += change;
    }
  };
  for (std::size_t e = pairs_.conflicts.row[v]; e < pairs_.conflicts.row[v + 1]; ++e) {
    const std::size_t w = index(pairs_.conflicts.neighbour[e]);
    const std::int64_t weight = weight_[pairs_.pair[e]];
    const std::int32_t begin = offset_[w];
    const std::int32_t end = begin + pairs_.size[w];
    const std::int32_t smaller = std::min(size, pairs_.size[w]);
    cost += weight * std::max(0, std::min(size, end) - begin);
    bend(begin - size, weight);
    bend(begin - size + smaller, -weight);
    bend(end - smaller, -weight);
    bend(end, weight);
    if (pairs_.overwrites[e] && begin <= highest) dip_[index(begin)] += weight * size;
  }
  best_cost_ = std::numeric_limits<std::int64_t>::max();
  std::uint32_t ties = 0;
  for (std::int32_t offset = 0; offset <= highest; ++offset) {
    const std::int64_t here = dip_.empty() ? cost : cost - dip_[index(offset)];
    if (here <= best_cost_ && offset != offset_[v]) {
      ties = here < best_cost_ ? 1 : ties + 1;
      best_cost_ = here;
      if (random_() % ties == 0) best_offset_ = offset;
    }
    slope += bend_[index(offset)];
    cost += slope;
  }
  return ties > 0;
}

void OverlapSearch::weigh_overlaps(std::int32_t buffer) {
  const std::size_t v = index(buffer);
  for (std::size_t e = pairs_.conflicts.row[v]; e < pairs_.conflicts.row[v + 1]; ++e) {
    const std::int32_t other = pairs_.conflicts.neighbour[e];
    const std::int64_t common = overlap(v, e);
    if (common == 0) continue;
    ++weight_[pairs_.pair[e]];
    ++risen_;
    cost_[v] += common;
    cost_[index(other)] += common;
  }
}

void OverlapSearch::move(std::int32_t buffer, std::int32_t offset) {
  const std::size_t v = index(buffer);
  for (std::size_t e = pairs_.conflicts.row[v]; e < pairs_.conflicts.row[v + 1]; ++e) {
    const std::int32_t other = pairs_.conflicts.neighbour[e];
    cost_[index(other)] -= weight_[pairs_.pair[e]] * overlap(v, e);
  }
  offset_[v] = offset;
  cost_[v] = 0;
  for (std::size_t e = pairs_.conflicts.row[v]; e < pairs_.conflicts.row[v + 1]; ++e) {
    const std::int32_t other = pairs_.conflicts.neighbour[e];
    const std::int64_t cost = weight_[pairs_.pair[e]] * overlap(v, e);
    cost_[v] += cost;
    cost_[index(other)] += cost;
    list(other);
  }
  list(buffer);
}

void OverlapSearch::recount() {
  for (std::size_t v = 0; v < cost_.size(); ++v) {
    const auto buffer = static_cast<std::int32_t>(v);
    cost_[v] = 0;
    for (std::size_t e = pairs_.conflicts.row[v]; e < pairs_.conflicts.row[v + 1]; ++e) {
      cost_[v] += weight_[pairs_.pair[e]] * overlap(v, e);
    }
    list(buffer);
  }
}

// Keeps the list of overlapping buffers up to date.
void OverlapSearch::list(std::int32_t buffer) {
  std::int32_t& place = place_[index(buffer)];
  if (cost_[index(buffer)] > 0) {
    if (place >= 0) return;
    place = static_cast<std::int32_t>(overlapping_.size());
    overlapping_.push_back(buffer);
  } else if (place >= 0) {
    const std::int32_t last = overlapping_.back();
    overlapping_[index(place)] = last;
    place_[index(last)] = place;
    overlapping_.pop_back();
    place = -1;
  }
}

// Of a buffer and its neighbour in that entry of the conflict graph.
std::int64_t OverlapSearch::overlap(std::size_t v, std::size_t entry) const {
  const std::size_t w = index(pairs_.conflicts.neighbour[entry]);
  if (pairs_.overwrites[entry] && offset_[v] == offset_[w]) return 0;
  return std::max(0, std::min(offset_[v] + pairs_.size[v], offset_[w] + pairs_.size[w]) -
                         std::max(offset_[v], offset_[w]));
}

namespace {

// Several trajectories by turns, and what they have come to.
class Squeeze {
 public:
  Squeeze(const Instance& instance, const OverlapPairs& pairs, SqueezeResult& best,
          std::int64_t goal, std::uint64_t seed)
      : pairs_(pairs),
        best_(best),
        start_(best.packing.offsets),
        goal_(goal),
        tallest_(pairs.unit * *std::max_element(pairs.size.begin(), pairs.size.end())),
        first_height_(instance.lower_bound + instance.lower_bound / kCoarseShare),
        seeds_(seed) {
    for (auto& search : searches_) search = std::make_unique<OverlapSearch>(instance, pairs);
  }

  void run(Control& control, SharedBest* shared) {
    for (std::size_t k = 0; k < kTrajectories; ++k) begin(k);
    const auto pairs = static_cast<std::int64_t>(pairs_.count);
    const std::int64_t patience = kMostSteps * pairs * pairs;
    for (std::int64_t turn = 0; !done(shared) && !control.stop(); ++turn) {
      if (best_.steps - steps_at_best_ > patience) return;
      const std::size_t k = whose(turn);
      OverlapSearch& search = *searches_[k];
      const std::int64_t before = search.steps();
      const bool legal = search.run(kStepsATurn, control);
      best_.steps += search.steps() - before;
      if (legal) {
        take(search, shared);
      } else if (k != leader() && search.risen() > restart_patience()) {
        begin(k);
      }
    }
  }

 private:
  bool done(SharedBest* shared) {
    if (shared != nullptr) {
      goal_ = std::max(goal_, shared->lower_bound());
      if (shared->height() <= goal_) return true;
    }
    return best_.packing.height <= std::max(goal_, tallest_);
  }

  // Trajectory k from the start, at the first height: it comes down by itself.
  void begin(std::size_t k) {
    const std::int64_t lowest = best_.packing.height;
    // Where the bound is out of reach, all would search too low for ever.
    if (restarts_++ >= static_cast<std::int64_t>(kTrajectories) && lowest > first_height_) {
      first_height_ += (lowest - first_height_ + 1) / 2;
    }
    std::int64_t height = std::max({first_height_, goal_, tallest_});
    if (!lowered_) height = std::min(height, lowest - 1);
    // Steps and memory are in proportion to the height, however high the start is.
    height = std::min(height, 2 * OverlapPairs::kMostUnits * pairs_.unit);
    searches_[k]->begin(start_, height, seeds_());
  }

  void take(OverlapSearch& search, SharedBest* shared) {
    Packing packing = search.packing();
    const std::int64_t height = packing.height;
    if (height < best_.packing.height) {
      if (shared != nullptr) shared->offer(packing);
      best_.packing = std::move(packing);
      lowered_ = true;
      steps_at_best_ = best_.steps;
    }
    search.squeeze(std::max(height - 1, tallest_));
  }

  std::size_t leader() const {
    std::size_t best = 0;
    for (std::size_t k = 1; k < kTrajectories; ++k) {
      if (searches_[k]->lowest() < searches_[best]->lowest()) best = k;
    }
    return best;
  }

  std::size_t whose(std::int64_t turn) const {
    if (turn % 2 == 0) return leader();
    return static_cast<std::size_t>(turn / 2) % kTrajectories;
  }

  std::int64_t restart_patience() const {
    return kPatience * (restarts_ & -restarts_) * static_cast<std::int64_t>(pairs_.count);
  }

  const OverlapPairs& pairs_;
  SqueezeResult& best_;
  const std::vector<std::int64_t> start_;
  std::int64_t goal_, tallest_, first_height_;  // bytes
  std::mt19937_64 seeds_;
  std::array<std::unique_ptr<OverlapSearch>, kTrajectories> searches_;
  std::int64_t restarts_ = 0;
  std::int64_t steps_at_best_ = 0;
  bool lowered_ = false;
};

}  // namespace

SqueezeResult squeeze(const Instance& instance, Packing start, std::int64_t goal,
                      std::uint64_t seed, Control& control, SharedBest* shared) {
  SqueezeResult result{std::move(start), 0};
  const OverlapPairs pairs(instance);
  goal = std::max(goal, instance.lower_bound);
  if (result.packing.height <= goal || pairs.count == 0) return result;
  Squeeze(instance, pairs, result, goal, seed).run(control, shared);
  return result;
}

}  // namespace planner::offsets
