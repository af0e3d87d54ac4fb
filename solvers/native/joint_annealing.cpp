#include "joint_annealing.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <random>
#include <utility>

namespace planner::joint {

namespace {

// A round cools down from a temperature of this share of the largest storage to a thousandth of
// it. Each round is longer than the one before.
constexpr double kHottest = 0.5;
constexpr double kColdest = 5e-4;
constexpr std::int64_t kFirstRound = 10'000;
constexpr std::int32_t kLongestBlock = 8;

class Annealing {
 public:
  Annealing(const JointModel& model, std::uint64_t seed)
      : model_(model),
        traffic_(model),
        random_(seed),
        position_(index(model.operators)),
        marked_(index(model.operators), 0) {}

  AnnealingResult run(const std::vector<Order>& starts, const AnnealingOptions& options,
                      Control& control);

 private:
  std::int32_t below(std::int32_t limit) {
    return static_cast<std::int32_t>(random_() % static_cast<std::uint64_t>(limit));
  }
  double unit() { return (static_cast<double>(random_() >> 11) + 0.5) * 0x1.0p-53; }

  void round(std::int64_t length, std::int64_t most, const AnnealingOptions& options,
             Control& control);
  void accept(std::int64_t traffic);
  bool propose();
  bool move_block();
  bool pull(std::int32_t from, std::int32_t to);
  bool push(std::int32_t from, std::int32_t to);
  bool close_absence();

  const JointModel& model_;
  OrderTraffic traffic_;
  std::mt19937_64 random_;
  AnnealingResult result_;
  Order current_, candidate_;
  std::int64_t current_traffic_ = kDoesNotFit;
  std::vector<OrderTraffic::Absence> absences_;
  std::vector<std::int32_t> position_;  // in current_
  std::vector<char> marked_;
  std::vector<std::int32_t> moved_, stayed_;
};

// Moves a few operators that stand together to anywhere between the last of what they need and the
// first that needs them.
bool Annealing::move_block() {
  const std::int32_t n = model_.operators;
  const std::int32_t at = below(n);
  const std::int32_t length =
      std::min(n - at, below(3) == 0 ? 1 + below(kLongestBlock) : 1);
  std::int32_t low = 0;
  std::int32_t high = n;
  for (std::int32_t i = at; i < at + length; ++i) {
    const std::int32_t v = current_[index(i)];
    for (const std::int32_t p : model_.predecessors[v])
      if (position_[index(p)] < at) low = std::max(low, position_[index(p)] + 1);
    for (const std::int32_t s : model_.successors[v])
      if (position_[index(s)] >= at + length) high = std::min(high, position_[index(s)]);
  }
  high -= length;
  if (high <= low) return false;
  std::int32_t to = low + below(high - low);
  if (to >= at) ++to;
  const auto begin = candidate_.begin();
  if (to < at)
    std::rotate(begin + to, begin + at, begin + at + length);
  else
    std::rotate(begin + at, begin + at + length, begin + to + length);
  return true;
}

// Moves the operator at `from` forward to `to`, and with it what it needs in between.
bool Annealing::pull(std::int32_t from, std::int32_t to) {
  moved_.clear();
  stayed_.clear();
  marked_[index(current_[index(from)])] = 1;
  for (std::int32_t i = from; i >= to; --i) {
    const std::int32_t v = current_[index(i)];
    if (!marked_[index(v)]) {
      stayed_.push_back(v);
      continue;
    }
    moved_.push_back(v);
    for (const std::int32_t p : model_.predecessors[v]) marked_[index(p)] = 1;
  }
  for (const std::int32_t v : moved_) {
    marked_[index(v)] = 0;
    for (const std::int32_t p : model_.predecessors[v]) marked_[index(p)] = 0;
  }
  const auto middle = std::copy(moved_.rbegin(), moved_.rend(), candidate_.begin() + to);
  std::copy(stayed_.rbegin(), stayed_.rend(), middle);
  return !stayed_.empty();
}

// Moves the operator at `from` back to `to`, and with it what needs it in between.
bool Annealing::push(std::int32_t from, std::int32_t to) {
  moved_.clear();
  stayed_.clear();
  marked_[index(current_[index(from)])] = 1;
  for (std::int32_t i = from; i <= to; ++i) {
    const std::int32_t v = current_[index(i)];
    if (!marked_[index(v)]) {
      stayed_.push_back(v);
      continue;
    }
    moved_.push_back(v);
    for (const std::int32_t s : model_.successors[v]) marked_[index(s)] = 1;
  }
  for (const std::int32_t v : moved_) {
    marked_[index(v)] = 0;
    for (const std::int32_t s : model_.successors[v]) marked_[index(s)] = 0;
  }
  const auto middle = std::copy(stayed_.begin(), stayed_.end(), candidate_.begin() + from);
  std::copy(moved_.begin(), moved_.end(), middle);
  return !stayed_.empty();
}

// Brings two uses together between which something is absent.
bool Annealing::close_absence() {
  if (absences_.empty()) return false;
  const auto [before, after] =
      absences_[index(below(static_cast<std::int32_t>(absences_.size())))];
  const std::int32_t distance = 1 + below(after - before - 1);
  return below(2) == 0 ? pull(after, after - distance) : push(before, before + distance);
}

bool Annealing::propose() {
  const std::int32_t n = model_.operators;
  candidate_ = current_;
  const std::int32_t kind = below(8);
  if (kind < 5) return move_block();
  if (kind == 5) return close_absence();
  const std::int32_t at = below(n);
  const std::int32_t most = std::max(1, std::min(n / 2, 1 << (1 + below(7))));
  const std::int32_t distance = 1 + below(most);
  if (kind == 6) return pull(at, std::max(0, at - distance));
  return push(at, std::min(n - 1, at + distance));
}

void Annealing::accept(std::int64_t traffic) {
  current_traffic_ = traffic;
  std::swap(current_, candidate_);
  for (std::int32_t t = 0; t < model_.operators; ++t) position_[index(current_[index(t)])] = t;
  absences_ = traffic_.absences();
  ++result_.accepted;
  if (traffic >= result_.traffic) return;
  result_.traffic = traffic;
  result_.order = current_;
}

void Annealing::round(std::int64_t length, std::int64_t most, const AnnealingOptions& options,
                      Control& control) {
  ++result_.rounds;
  const double largest = static_cast<double>(
      *std::max_element(model_.size.begin(), model_.size.end()));
  const std::int64_t start = result_.evaluations;
  for (std::int64_t tries = 0; tries < 4 * length; ++tries) {
    const std::int64_t done = result_.evaluations - start;
    if (done >= length || result_.evaluations >= most || control.stop_now()) return;
    if (result_.traffic <= options.goal) return;
    if (!propose()) continue;
    ++result_.evaluations;
    const double cooled = static_cast<double>(done) / static_cast<double>(length);
    const double temperature = largest * kHottest * std::pow(kColdest / kHottest, cooled);
    // Worse by this much is accepted; drawn first, so that the evaluation can stop early.
    const double allowed = -temperature * std::log(unit());
    const std::int64_t cut = current_traffic_ == kDoesNotFit
                                 ? kDoesNotFit
                                 : current_traffic_ + static_cast<std::int64_t>(allowed) + 1;
    const std::int64_t traffic = traffic_.improved(candidate_, cut);
    if (traffic < cut || cut == kDoesNotFit) accept(traffic);
  }
}

AnnealingResult Annealing::run(const std::vector<Order>& starts, const AnnealingOptions& options,
                               Control& control) {
  for (const Order& order : starts) {
    if (!result_.order.empty() && control.stop_now()) break;
    candidate_ = order;
    const std::int64_t traffic = traffic_.improved(order, kDoesNotFit);
    ++result_.evaluations;
    if (result_.order.empty() || traffic < result_.traffic) {
      result_.order = order;
      accept(traffic);
    }
  }
  const std::int64_t most =
      options.most_evaluations > 0 ? options.most_evaluations : kDoesNotFit;
  if (model_.operators < 2 || !operands_fit(model_)) return std::move(result_);
  std::int64_t length = kFirstRound;
  while (result_.traffic > options.goal && result_.evaluations < most && !control.stop_now()) {
    candidate_ = result_.order;
    accept(traffic_.improved(result_.order, kDoesNotFit));
    const std::int64_t before = result_.evaluations;
    round(length, most, options, control);
    if (result_.evaluations == before) break;  // there seems to be no other order
    length += length / 2;
  }
  return std::move(result_);
}

}  // namespace

AnnealingResult anneal(const JointModel& model, const std::vector<Order>& starts,
                       const AnnealingOptions& options, Control& control) {
  return Annealing(model, options.seed).run(starts, options, control);
}

}  // namespace planner::joint
