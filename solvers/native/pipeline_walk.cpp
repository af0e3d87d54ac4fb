#include "pipeline_walk.hpp"

#include <algorithm>
#include <utility>

#include "pipeline_timing.hpp"

namespace planner::pipeline {

namespace {

constexpr double kMeanWeight = 0.1;
// The mean stage is not expected to shrink by more than this share of a period in one change.
constexpr double kMeanSlack = 0.1;

}  // namespace

Walk::Walk(const PipelineModel& model, const Order& order, std::vector<std::int64_t> release)
    : model_(model),
      order_(order),
      release_(std::move(release)),
      position_(at(model.passes)),
      start_(at(model.passes)),
      tail_(at(model.passes)),
      level_(at(model.passes)),
      changed_(at(model.passes)),
      stamp_(at(model.passes), 0),
      cut_(at(model.devices)),
      next_(at(model.devices)),
      blocked_(at(model.devices)),
      tail_cut_(at(model.devices)),
      clock_(at(model.devices)) {
  for (std::int32_t d = 0; d < model.devices; ++d) {
    std::int64_t held = 0;
    for (std::int32_t k = model.begin[at(d)]; k < model.begin[at(d + 1)]; ++k) {
      position_[at(order_[at(k)])] = k;
      held += model.memory[at(model.letter_of[at(order_[at(k)])])];
      level_[at(k)] = held;
    }
  }
  time_all();
}

void Walk::time_all() {
  start_ = earliest(model_, order_, release_).start;
  double sum = 0.0;
  cost_ = 0;
  for (std::int32_t d = 0; d < model_.devices; ++d) {
    const std::int32_t last = order_[at(model_.begin[at(d + 1)] - 1)];
    const std::int64_t span = start_[at(last)] + ticks_of(last) - origin(d, start_);
    cost_ = std::max(cost_, span);
    sum += static_cast<double>(span);
  }
  mean_ = sum / static_cast<double>(model_.devices);
  value_ = static_cast<double>(cost_) + kMeanWeight * mean_;
  measure_tails(true);
}

bool Walk::fits(std::int32_t low, std::int32_t high, std::int32_t letter) const {
  for (std::int32_t k = low; k <= high; ++k) {
    const std::int32_t pass = order_[at(k)];
    if (model_.letter_of[at(pass)] != letter) continue;
    for (const std::int32_t distance : model_.earlier[at(letter)])
      if (position_[at(pass + distance)] > k) return false;
    for (const std::int32_t distance : model_.later[at(letter)])
      if (position_[at(pass + distance)] < k) return false;
  }
  return true;
}

bool Walk::shift(std::int32_t from, std::int32_t to) {
  if (from == to) return false;
  const std::int32_t low = std::min(from, to);
  const std::int32_t high = std::max(from, to);
  const std::int32_t moved = order_[at(from)];
  const std::int32_t letter = model_.letter_of[at(moved)];
  const std::int32_t device = model_.device_of_letter(letter);
  const std::size_t mark = undo_.size();
  std::int32_t alike = 0;
  for (std::int32_t k = low; k <= high; ++k) {
    const std::int32_t pass = order_[at(k)];
    undo_.push_back({k, pass, level_[at(k)]});
    if (model_.letter_of[at(pass)] == letter) ++alike;
  }
  if (alike == high - low + 1) {
    undo_.resize(mark);
    return false;
  }
  const auto begin = order_.begin();
  if (to < from)
    std::rotate(begin + low, begin + high, begin + high + 1);
  else
    std::rotate(begin + low, begin + low + 1, begin + high + 1);
  std::int32_t number = to < from ? moved - (alike - 1) : moved;
  std::int64_t held = low > model_.begin[at(device)] ? level_[at(low - 1)] : 0;
  bool legal = true;
  for (std::int32_t k = low; k <= high; ++k) {
    std::int32_t& pass = order_[at(k)];
    const std::int32_t own = model_.letter_of[at(pass)];
    if (own == letter) pass = number++;
    position_[at(pass)] = k;
    held += model_.memory[at(own)];
    level_[at(k)] = held;
    if (held > model_.limit[at(device)]) legal = false;
  }
  if (!legal || !fits(low, high, letter)) {
    restore(mark);
    return false;
  }
  std::int64_t free = release_[at(device)];
  if (low > model_.begin[at(device)]) {
    const std::int32_t before = order_[at(low - 1)];
    free = start_[at(before)] + ticks_of(before);
  }
  from_tick_ = std::min(from_tick_, free);
  for (std::size_t i = mark; i < undo_.size(); ++i) {
    const std::int32_t pass = undo_[i].pass;
    from_tick_ = std::min(from_tick_, start_[at(pass)]);
    to_tick_ = std::max(to_tick_, start_[at(pass)] + ticks_of(pass));
  }
  return true;
}

void Walk::restore(std::size_t length) {
  while (undo_.size() > length) {
    const Undo& one = undo_.back();
    order_[at(one.position)] = one.pass;
    position_[at(one.pass)] = one.position;
    level_[at(one.position)] = one.level;
    undo_.pop_back();
  }
}

void Walk::undo() {
  restore(0);
  from_tick_ = kNever;
  to_tick_ = -1;
}

// A pass that started before the first change, `from_tick_`, keeps its time: all that it waits for
// started before as well. One that started after the last change, `to_tick_`, has no path into
// the changed positions, so its longest path to the end is what it was.
bool Walk::evaluate(double most) {
  ++round_;
  awake_.clear();
  bool same_origins = true;
  for (std::int32_t d = model_.devices; d-- > 0;) {
    const auto begin = order_.begin() + model_.begin[at(d)];
    const auto end = order_.begin() + model_.begin[at(d + 1)];
    const auto first = std::partition_point(
        begin, end, [&](std::int32_t pass) { return start_[at(pass)] < from_tick_; });
    cut_[at(d)] = next_[at(d)] = static_cast<std::int32_t>(first - order_.begin());
    clock_[at(d)] = first == begin
                        ? release_[at(d)]
                        : start_[at(*(first - 1))] + ticks_of(*(first - 1));
    if (first == begin) same_origins = false;
    blocked_[at(d)] = -1;
    awake_.push_back(d);
  }
  const std::int64_t longest =
      same_origins || model_.makespan
          ? static_cast<std::int64_t>(
                most - kMeanWeight * (mean_ - kMeanSlack * static_cast<double>(model_.period)))
          : kNever;
  while (!awake_.empty()) {
    const std::int32_t d = awake_.back();
    awake_.pop_back();
    const std::int32_t end = model_.begin[at(d + 1)];
    std::int32_t k = next_[at(d)];
    std::int64_t tick = clock_[at(d)];
    for (; k < end; ++k) {
      const std::int32_t pass = order_[at(k)];
      const std::size_t letter = at(model_.letter_of[at(pass)]);
      if (const std::int32_t input = model_.input[letter]; input != 0) {
        const std::size_t other = at(pass + input);
        std::int64_t known = start_[other];
        if (known >= from_tick_) {
          if (stamp_[other] != round_) {
            blocked_[at(d)] = pass + input;
            break;
          }
          known = changed_[other];
        }
        tick = std::max(tick, known + model_.input_lag[letter]);
      }
      changed_[at(pass)] = tick;
      stamp_[at(pass)] = round_;
      if (start_[at(pass)] > to_tick_ && tick + tail_[at(pass)] > longest) return false;
      tick += model_.ticks[letter];
      const std::int32_t taker = model_.output_device[letter];
      if (taker >= 0 && blocked_[at(taker)] == pass) {
        blocked_[at(taker)] = -1;
        awake_.push_back(taker);
      }
    }
    next_[at(d)] = k;
    clock_[at(d)] = tick;
  }
  double sum = 0.0;
  new_cost_ = 0;
  for (std::int32_t d = 0; d < model_.devices; ++d) {
    if (next_[at(d)] != model_.begin[at(d + 1)]) return false;  // a deadlock
    const std::size_t first = at(order_[at(model_.begin[at(d)])]);
    const std::int64_t begin =
        model_.makespan ? 0 : (stamp_[first] == round_ ? changed_[first] : start_[first]);
    new_cost_ = std::max(new_cost_, clock_[at(d)] - begin);
    sum += static_cast<double>(clock_[at(d)] - begin);
  }
  new_mean_ = sum / static_cast<double>(model_.devices);
  new_value_ = static_cast<double>(new_cost_) + kMeanWeight * new_mean_;
  return new_value_ <= most;
}

void Walk::keep() {
  std::int64_t last = to_tick_;
  for (const Undo& one : undo_) {
    const std::int32_t pass = order_[at(one.position)];
    last = std::max(last, changed_[at(pass)] + ticks_of(pass));
  }
  bool all = false;
  for (std::int32_t d = 0; d < model_.devices; ++d) {
    if (cut_[at(d)] == model_.begin[at(d)]) all = true;
    tail_cut_[at(d)] = cut_[at(d)];
    for (std::int32_t k = cut_[at(d)]; k < model_.begin[at(d + 1)]; ++k) {
      const std::size_t pass = at(order_[at(k)]);
      if (std::min(start_[pass], changed_[pass]) <= last) tail_cut_[at(d)] = k + 1;
      start_[pass] = changed_[pass];
    }
  }
  cost_ = new_cost_;
  mean_ = new_mean_;
  value_ = new_value_;
  undo_.clear();
  from_tick_ = kNever;
  to_tick_ = -1;
  measure_tails(all);
}

void Walk::measure_tails(bool all) {
  awake_.clear();
  for (std::int32_t d = 0; d < model_.devices; ++d) {
    next_[at(d)] = all ? model_.begin[at(d + 1)] : tail_cut_[at(d)];
    blocked_[at(d)] = -1;
    awake_.push_back(d);
  }
  while (!awake_.empty()) {
    const std::int32_t d = awake_.back();
    awake_.pop_back();
    const std::int32_t end = model_.begin[at(d + 1)];
    std::int32_t& next = next_[at(d)];
    for (; next > model_.begin[at(d)]; --next) {
      const std::int32_t pass = order_[at(next - 1)];
      const std::size_t letter = at(model_.letter_of[at(pass)]);
      std::int64_t tail = model_.ticks[letter];
      tail += next == end ? -origin(d, start_) : tail_[at(order_[at(next)])];
      if (const std::int32_t taker = model_.output_device[letter]; taker >= 0) {
        const std::int32_t other = pass + model_.output[letter];
        if (position_[at(other)] < next_[at(taker)]) {
          blocked_[at(d)] = other;
          break;
        }
        tail = std::max(tail, model_.output_lag[letter] + tail_[at(other)]);
      }
      tail_[at(pass)] = tail;
      if (const std::int32_t input = model_.input[letter]; input != 0) {
        const std::int32_t giver = model_.device_of_letter(model_.letter_of[at(pass + input)]);
        if (blocked_[at(giver)] == pass) {
          blocked_[at(giver)] = -1;
          awake_.push_back(giver);
        }
      }
    }
  }
}

}  // namespace planner::pipeline
