#include "joint_eviction.hpp"

#include <algorithm>
#include <cstddef>
#include <tuple>

namespace planner::joint {

namespace {

// Overfull steps inside gaps, over all gaps, beyond which what looks at each is left out: the rule
// of least price, and exchanges. Reached by training graphs of about 1,000 operators.
constexpr std::int64_t kMostCoverage = 1 << 18;

}  // namespace

bool is_topological(const JointModel& model, const Order& order) {
  if (order.size() != index(model.operators)) return false;
  std::vector<char> ran(order.size(), 0);
  for (const std::int32_t v : order) {
    if (v < 0 || v >= model.operators || ran[index(v)]) return false;
    for (const std::int32_t p : model.predecessors[v])
      if (!ran[index(p)]) return false;
    ran[index(v)] = 1;
  }
  return true;
}

bool operands_fit(const JointModel& model) {
  for (std::int32_t v = 0; v < model.operators; ++v) {
    std::int64_t bytes = 0;
    std::int64_t gain = 0;
    for (const std::int32_t s : model.uses[v]) bytes += model.rounded[index(s)];
    for (const std::int32_t s : model.in_place[v]) gain = std::max(gain, model.rounded[index(s)]);
    if (bytes - gain > model.capacity) return false;
  }
  return true;
}

OrderTraffic::OrderTraffic(const JointModel& model)
    : model_(model),
      rules_{EvictionRule::kLeastPrice, EvictionRule::kFurthestUse, EvictionRule::kCopiesFirst,
             EvictionRule::kSmallestCover, EvictionRule::kFewestUses},
      last_use_(index(model.storages())),
      uses_seen_(index(model.storages())),
      writers_seen_(index(model.storages())),
      dropped_of_(index(model.storages())),
      excess_(index(model.operators) + 1),
      overfull_before_(index(model.operators) + 1),
      gain_(index(model.operators)) {
  for (std::int32_t s = 0; s < model.storages(); ++s) {
    if (model.rounded[index(s)] == 0) continue;
    if (model.starters[s].empty()) from_start_.push_back(s);
    if (model.kept[index(s)]) kept_.push_back(s);
  }
}

// Fills gaps_ and missing_at_. Returns whether the operands of every step fit.
bool OrderTraffic::find_gaps(const Order& order) {
  gaps_.clear();
  best_dropped_.clear();
  missing_at_.clear();
  const std::int32_t n = model_.operators;
  std::fill(excess_.begin(), excess_.end(), 0);
  std::fill(last_use_.begin(), last_use_.end(), -1);
  std::fill(uses_seen_.begin(), uses_seen_.end(), 0);
  std::fill(writers_seen_.begin(), writers_seen_.end(), 0);
  found_.clear();
  if (n == 0) return true;

  std::vector<std::int32_t>& last = last_use_;
  const auto add_gap = [&](std::int32_t s, std::int32_t after) {
    const std::size_t i = index(s);
    if (after - last[i] < 2) return;
    const std::int32_t writers = model_.writers[s].size();
    if (writers_seen_[i] > 0 && writers_seen_[i] < writers) return;
    found_.push_back(
        {s, last[i], after, 0, 0, uses_seen_[i], model_.rounded[i], model_.size[i]});
  };
  for (const std::int32_t s : from_start_) {
    last[index(s)] = 0;
    excess_[0] += model_.rounded[index(s)];
  }
  for (std::int32_t t = 0; t < n; ++t) {
    const std::int32_t v = order[index(t)];
    std::int64_t born = 0;
    std::int64_t gain = 0;
    for (const std::int32_t s : model_.in_place[v])
      if (last[index(s)] >= 0 && uses_seen_[index(s)] + 1 == model_.users[s].size())
        gain = std::max(gain, model_.rounded[index(s)]);
    for (const std::int32_t s : model_.uses[v]) {
      const std::size_t i = index(s);
      if (last[i] < 0)
        born += model_.rounded[i];
      else
        add_gap(s, t);
      last[i] = t;
      ++uses_seen_[i];
      if (uses_seen_[i] == model_.users[s].size() && !model_.kept[i])
        excess_[index(t) + 1] -= model_.rounded[i];
      if (model_.writers[s].size() > 1 && model_.writers[s].contains(v)) ++writers_seen_[i];
    }
    excess_[index(t)] += born;
    // A gain beyond what is born would only help while operands are still being read.
    gain_[index(t)] = std::min(gain, born);
  }
  for (const std::int32_t s : kept_) add_gap(s, n - 1);

  std::int32_t overfull = 0;
  std::int64_t live = -model_.capacity;
  for (std::int32_t t = 0; t < n; ++t) {
    overfull_before_[index(t)] = overfull;
    live += excess_[index(t)];
    const std::int64_t missing = live - gain_[index(t)];
    if (missing <= 0) continue;
    ++overfull;
    missing_at_.push_back(missing);
  }
  overfull_before_[index(n)] = overfull;
  if (overfull == 0) return true;

  // Those around an overfull step, by the first of them.
  begin_.assign(index(overfull) + 2, 0);
  coverage_ = 0;
  missing_ = missing_at_;
  for (Gap& gap : found_) {
    gap.first = overfull_before_[index(gap.before) + 1];
    gap.last = overfull_before_[index(gap.after)];
    if (gap.first == gap.last) continue;
    ++begin_[index(gap.first) + 2];
    coverage_ += gap.last - gap.first;
    for (std::int32_t k = gap.first; k < gap.last; ++k) missing_[index(k)] -= gap.bytes;
  }
  for (const std::int64_t missing : missing_)
    if (missing > 0) return false;
  for (std::size_t k = 2; k < begin_.size(); ++k) begin_[k] += begin_[k - 1];
  gaps_.resize(static_cast<std::size_t>(begin_.back()));
  for (const Gap& gap : found_)
    if (gap.first != gap.last) gaps_[index(begin_[index(gap.first) + 1]++)] = gap;
  return true;
}

std::int64_t OrderTraffic::price(const Gap& gap) const {
  const bool written = dropped_of_[index(gap.storage)] > 0 || model_.has_copy[index(gap.storage)];
  return written ? gap.price : 2 * gap.price;
}

// Missing bytes that dropping the gap makes up for, from an overfull step on.
std::int64_t OrderTraffic::relief(const Gap& gap, std::int32_t from) const {
  std::int64_t bytes = 0;
  for (std::int32_t k = from; k < gap.last; ++k)
    bytes += std::clamp(missing_[index(k)], std::int64_t{0}, gap.bytes);
  return bytes;
}

void OrderTraffic::drop(std::int32_t g) {
  const Gap& gap = gaps_[index(g)];
  dropped_[index(g)] = 1;
  ++dropped_of_[index(gap.storage)];
  for (std::int32_t k = gap.first; k < gap.last; ++k) missing_[index(k)] -= gap.bytes;
}

void OrderTraffic::keep(std::int32_t g) {
  const Gap& gap = gaps_[index(g)];
  dropped_[index(g)] = 0;
  --dropped_of_[index(gap.storage)];
  for (std::int32_t k = gap.first; k < gap.last; ++k) missing_[index(k)] += gap.bytes;
}

bool OrderTraffic::is_superfluous(const Gap& gap) const {
  for (std::int32_t k = gap.first; k < gap.last; ++k)
    if (missing_[index(k)] + gap.bytes > 0) return false;
  return true;
}

// Drops gaps of active_ until no byte is missing at the overfull step. Returns their traffic.
std::int64_t OrderTraffic::relieve(EvictionRule rule, std::int32_t step) {
  chosen_.clear();
  std::int64_t traffic = 0;
  while (missing_[index(step)] > 0) {
    // Smallest key first, then smallest tie.
    double best_key = std::numeric_limits<double>::infinity();
    double best_tie = 0.0;
    std::int32_t best = -1;
    for (const std::int32_t g : active_) {
      if (dropped_[index(g)]) continue;
      const Gap& gap = gaps_[index(g)];
      const auto cost = static_cast<double>(price(gap));
      const auto bytes = static_cast<double>(gap.bytes);
      double key = 0.0;
      double tie = -gap.after;
      switch (rule) {
        case EvictionRule::kFurthestUse:
          key = -gap.after;
          tie = cost;
          break;
        case EvictionRule::kCopiesFirst:
          key = cost > static_cast<double>(gap.price) ? 1.0 : 0.0;
          break;
        case EvictionRule::kSmallestCover:
          key = gap.bytes >= missing_[index(step)] ? cost
                                                   : std::numeric_limits<double>::max() / bytes;
          break;
        case EvictionRule::kFewestUses:
          key = (cost > static_cast<double>(gap.price) ? 2.0 : 1.0) *
                (model_.users[gap.storage].size() - gap.uses_before);
          break;
        case EvictionRule::kLeastPrice:
          key = cost / static_cast<double>(relief(gap, step));
          break;
      }
      if (best < 0 || key < best_key || (key == best_key && tie < best_tie)) {
        best = g;
        best_key = key;
        best_tie = tie;
      }
    }
    traffic += price(gaps_[index(best)]);
    drop(best);
    chosen_.push_back(best);
  }
  return traffic;
}

std::int64_t OrderTraffic::keep_superfluous() {
  order_of_price_.clear();
  for (std::size_t g = 0; g < gaps_.size(); ++g)
    if (dropped_[g]) order_of_price_.push_back(static_cast<std::int32_t>(g));
  std::sort(order_of_price_.begin(), order_of_price_.end(), [&](std::int32_t a, std::int32_t b) {
    return std::tuple(-gaps_[index(a)].price, a) < std::tuple(-gaps_[index(b)].price, b);
  });
  std::int64_t saved = 0;
  for (const std::int32_t g : order_of_price_) {
    if (!is_superfluous(gaps_[index(g)])) continue;
    keep(g);
    saved += price(gaps_[index(g)]);
  }
  return saved;
}

std::int64_t OrderTraffic::cover(EvictionRule rule, std::int64_t cut) {
  missing_ = missing_at_;
  dropped_.assign(gaps_.size(), 0);
  std::fill(dropped_of_.begin(), dropped_of_.end(), 0);
  active_.clear();
  std::int64_t traffic = 0;
  const auto steps = static_cast<std::int32_t>(missing_at_.size());
  for (std::int32_t k = 0; k < steps; ++k) {
    active_.erase(std::remove_if(active_.begin(), active_.end(),
                                 [&](std::int32_t g) {
                                   return gaps_[index(g)].last <= k || dropped_[index(g)];
                                 }),
                  active_.end());
    for (std::int32_t g = begin_[index(k)]; g < begin_[index(k) + 1]; ++g) active_.push_back(g);
    if (missing_[index(k)] <= 0) continue;
    traffic += relieve(rule, k);
    // Keeping superfluous gaps rarely saves more than a small part.
    if (traffic - traffic / 4 >= cut) return traffic;
  }
  return traffic - keep_superfluous();
}

std::int64_t OrderTraffic::by_rule(const Order& order, EvictionRule rule) {
  if (!find_gaps(order)) return kDoesNotFit;
  return missing_at_.empty() ? 0 : cover(rule, kDoesNotFit);
}

std::int64_t OrderTraffic::best_cover(std::int64_t cut) {
  std::int64_t best = kDoesNotFit;
  std::size_t winner = 0;
  for (std::size_t r = 0; r < rules_.size(); ++r) {
    if (rules_[r] == EvictionRule::kLeastPrice && coverage_ > kMostCoverage) continue;
    const std::int64_t traffic = cover(rules_[r], std::min(best, cut));
    if (traffic >= best) continue;
    best = traffic;
    best_dropped_ = dropped_;
    winner = r;
  }
  std::rotate(rules_.begin(), rules_.begin() + static_cast<std::ptrdiff_t>(winner),
              rules_.begin() + static_cast<std::ptrdiff_t>(winner) + 1);
  return best;
}

std::int64_t OrderTraffic::improved(const Order& order, std::int64_t cut) {
  if (!find_gaps(order)) return kDoesNotFit;
  if (missing_at_.empty()) return 0;
  const std::int64_t traffic = best_cover(cut);
  if (traffic - traffic / 4 >= cut || coverage_ > kMostCoverage) return traffic;
  restore(best_dropped_);
  const std::int64_t better = exchange(traffic);
  best_dropped_ = dropped_;
  return better;
}

const std::vector<OrderTraffic::Absence>& OrderTraffic::absences() {
  absences_.clear();
  for (std::size_t g = 0; g < best_dropped_.size(); ++g)
    if (best_dropped_[g]) absences_.push_back({gaps_[g].before, gaps_[g].after});
  return absences_;
}

void OrderTraffic::restore(const std::vector<char>& dropped) {
  for (std::size_t g = 0; g < gaps_.size(); ++g)
    if (dropped_[g] && !dropped[g]) keep(static_cast<std::int32_t>(g));
  for (std::size_t g = 0; g < gaps_.size(); ++g)
    if (!dropped_[g] && dropped[g]) drop(static_cast<std::int32_t>(g));
}

// Drops other gaps in place of one just kept. Returns their traffic, or something not below `cut`.
std::int64_t OrderTraffic::refill(std::int32_t without, std::int64_t cut) {
  std::int64_t traffic = 0;
  const Gap gap = gaps_[index(without)];
  for (std::int32_t k = gap.first; k < gap.last; ++k) {
    while (missing_[index(k)] > 0) {
      double best_key = std::numeric_limits<double>::infinity();
      std::int32_t best = -1;
      for (std::int64_t i = around_begin_[index(k)]; i < around_begin_[index(k) + 1]; ++i) {
        const std::int32_t g = around_[static_cast<std::size_t>(i)];
        if (dropped_[index(g)] || g == without) continue;
        const double key = static_cast<double>(price(gaps_[index(g)])) /
                           static_cast<double>(relief(gaps_[index(g)], k));
        if (best >= 0 && key >= best_key) continue;
        best = g;
        best_key = key;
      }
      if (best < 0) return kDoesNotFit;
      traffic += price(gaps_[index(best)]);
      if (traffic - traffic / 4 >= cut) return traffic;
      drop(best);
    }
  }
  return traffic;
}

std::int64_t OrderTraffic::exchange(std::int64_t traffic) {
  around_begin_.assign(missing_at_.size() + 1, 0);
  for (const Gap& gap : gaps_)
    for (std::int32_t k = gap.first; k < gap.last; ++k) ++around_begin_[index(k) + 1];
  for (std::size_t k = 1; k < around_begin_.size(); ++k) around_begin_[k] += around_begin_[k - 1];
  around_.resize(static_cast<std::size_t>(around_begin_.back()));
  around_end_.assign(around_begin_.begin(), around_begin_.end() - 1);
  for (std::size_t g = 0; g < gaps_.size(); ++g)
    for (std::int32_t k = gaps_[g].first; k < gaps_[g].last; ++k)
      around_[static_cast<std::size_t>(around_end_[index(k)]++)] = static_cast<std::int32_t>(g);

  std::size_t failed = 0;  // gaps in turn without any gain
  for (std::size_t g = 0; failed < gaps_.size(); g = (g + 1) % gaps_.size()) {
    ++failed;
    if (!dropped_[g]) continue;
    best_dropped_ = dropped_;
    keep(static_cast<std::int32_t>(g));
    const std::int64_t saved = price(gaps_[g]);
    const std::int64_t added = refill(static_cast<std::int32_t>(g), saved);
    if (added - added / 4 < saved) {
      const std::int64_t gain = saved - added + keep_superfluous();
      if (gain > 0) {
        traffic -= gain;
        failed = 0;
        continue;
      }
    }
    restore(best_dropped_);
  }
  return traffic;
}

}  // namespace planner::joint
