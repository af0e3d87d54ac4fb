#include "pipeline_walk.hpp"

#include <algorithm>
#include <functional>
#include <utility>

#include "pipeline_timing.hpp"

namespace planner::pipeline {

namespace {

constexpr double kMeanWeight = 0.1;
// The mean stage is not expected to shrink by more than this share of a period in one change.
constexpr double kMeanSlack = 0.1;
// A pass takes so many times longer by the queue than in a sweep.
constexpr std::int32_t kSweepGain = 16;

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
      queued_(at(model.passes), 0),
      next_(at(model.devices)),
      blocked_(at(model.devices)),
      sweep_end_(at(model.devices)),
      origin_(at(model.devices)),
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
  measure_all_tails();
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

// The time of a pass, and whether it is new: then what waits for it is timed anew, later.
std::int64_t Walk::time_of(std::int32_t pass) const {
  return stamp_[at(pass)] == round_ ? changed_[at(pass)] : start_[at(pass)];
}

void Walk::set_time(std::int32_t pass, std::int64_t tick) {
  if (stamp_[at(pass)] != round_) touched_.push_back(pass);
  stamp_[at(pass)] = round_;
  changed_[at(pass)] = tick;
}

// Times passes that started from `from` to `to`, device by device, which finds deadlocks. Those
// before `from` have their times, and none waits for one after `to`.
bool Walk::sweep(std::int64_t from, std::int64_t to) {
  awake_.clear();
  for (std::int32_t d = model_.devices; d-- > 0;) {
    const auto begin = order_.begin() + model_.begin[at(d)];
    const auto end = order_.begin() + model_.begin[at(d + 1)];
    const auto first = std::partition_point(
        begin, end, [&](std::int32_t pass) { return start_[at(pass)] < from; });
    const auto last = std::partition_point(
        first, end, [&](std::int32_t pass) { return start_[at(pass)] <= to; });
    next_[at(d)] = static_cast<std::int32_t>(first - order_.begin());
    sweep_end_[at(d)] = static_cast<std::int32_t>(last - order_.begin());
    clock_[at(d)] = first == begin
                        ? release_[at(d)]
                        : time_of(*(first - 1)) + ticks_of(*(first - 1));
    blocked_[at(d)] = -1;
    awake_.push_back(d);
  }
  while (!awake_.empty()) {
    const std::int32_t d = awake_.back();
    awake_.pop_back();
    const std::int32_t end = sweep_end_[at(d)];
    std::int32_t& next = next_[at(d)];
    std::int64_t tick = clock_[at(d)];
    for (; next < end; ++next) {
      const std::int32_t pass = order_[at(next)];
      const std::size_t letter = at(model_.letter_of[at(pass)]);
      if (const std::int32_t input = model_.input[letter]; input != 0) {
        const std::int32_t other = pass + input;
        const std::int32_t giver = model_.device_of_letter(model_.letter_of[at(other)]);
        if (position_[at(other)] >= next_[at(giver)]) {
          blocked_[at(d)] = other;
          break;
        }
        tick = std::max(tick, time_of(other) + model_.input_lag[letter]);
      }
      set_time(pass, tick);
      tick += model_.ticks[letter];
      const std::int32_t taker = model_.output_device[letter];
      if (taker >= 0 && blocked_[at(taker)] == pass) {
        blocked_[at(taker)] = -1;
        awake_.push_back(taker);
      }
    }
    clock_[at(d)] = tick;
  }
  for (std::int32_t d = 0; d < model_.devices; ++d)
    if (next_[at(d)] != sweep_end_[at(d)]) return false;
  return true;
}

// Each costs more in the queue than in a sweep over all.
std::int32_t Walk::most_queued() const { return model_.passes / kSweepGain; }

void Walk::enqueue(std::int64_t key, std::int32_t pass) {
  if (queued_[at(pass)] == round_) return;
  queued_[at(pass)] = round_;
  queue_.push_back({key, pass});
  std::push_heap(queue_.begin(), queue_.end(), std::greater<>());
}

std::int32_t Walk::dequeue() {
  std::pop_heap(queue_.begin(), queue_.end(), std::greater<>());
  const std::int32_t pass = queue_.back().second;
  queue_.pop_back();
  queued_[at(pass)] = 0;
  return pass;
}

// Those that wait for a pass and started after the window.
void Walk::enqueue_takers(std::int32_t pass) {
  const std::size_t letter = at(model_.letter_of[at(pass)]);
  if (model_.output_device[letter] >= 0) {
    const std::int32_t other = pass + model_.output[letter];
    if (start_[at(other)] > to_tick_) enqueue(start_[at(other)], other);
  }
  const std::int32_t k = position_[at(pass)] + 1;
  if (k == model_.begin[at(model_.device_of_letter(static_cast<std::int32_t>(letter)) + 1)]) return;
  const std::int32_t next = order_[at(k)];
  if (start_[at(next)] > to_tick_) enqueue(start_[at(next)], next);
}

bool Walk::evaluate(double most) {
  ++round_;
  touched_.clear();
  queue_.clear();
  // A pass that started before the first change keeps its time: all that it waits for started
  // before as well. Those up to the last change wait for none that started later.
  if (!sweep(from_tick_, to_tick_)) return false;
  // A stage that begins later may end later.
  std::int64_t later = 0;
  origins_moved_ = false;
  if (!model_.makespan) {
    for (std::int32_t d = 0; d < model_.devices; ++d) {
      const std::int64_t begin = time_of(order_[at(model_.begin[at(d)])]);
      if (begin != origin_[at(d)]) origins_moved_ = true;
      later = std::max(later, begin - origin_[at(d)]);
    }
  }
  const auto longest =
      later + static_cast<std::int64_t>(
                  most - kMeanWeight * (mean_ - kMeanSlack * static_cast<double>(model_.period)));
  for (const std::int32_t pass : touched_)
    if (changed_[at(pass)] != start_[at(pass)]) enqueue_takers(pass);
  for (std::int32_t d = 0; d < model_.devices; ++d) {
    const std::int32_t k = sweep_end_[at(d)];
    if (k < model_.begin[at(d + 1)]) enqueue(start_[at(order_[at(k)])], order_[at(k)]);
  }
  // Of a pass after the window all that it waits for has its time, and its longest path to the end
  // is what it was.
  std::int32_t left = most_queued();
  while (!queue_.empty()) {
    if (left-- == 0) {
      if (!sweep(queue_.front().first, kNever)) return false;
      break;
    }
    const std::int32_t pass = dequeue();
    const std::int32_t letter = model_.letter_of[at(pass)];
    const std::int32_t device = model_.device_of_letter(letter);
    const std::int32_t k = position_[at(pass)];
    std::int64_t tick = release_[at(device)];
    if (k > model_.begin[at(device)]) {
      const std::int32_t before = order_[at(k - 1)];
      tick = time_of(before) + ticks_of(before);
    }
    if (const std::int32_t input = model_.input[at(letter)]; input != 0)
      tick = std::max(tick, time_of(pass + input) + model_.input_lag[at(letter)]);
    if (tick == time_of(pass)) continue;
    if (tick + tail_[at(pass)] > longest) return false;
    set_time(pass, tick);
    enqueue_takers(pass);
  }
  double sum = 0.0;
  new_cost_ = 0;
  for (std::int32_t d = 0; d < model_.devices; ++d) {
    const std::int32_t last = order_[at(model_.begin[at(d + 1)] - 1)];
    const std::int64_t begin =
        model_.makespan ? 0 : time_of(order_[at(model_.begin[at(d)])]);
    const std::int64_t span = time_of(last) + ticks_of(last) - begin;
    new_cost_ = std::max(new_cost_, span);
    sum += static_cast<double>(span);
  }
  new_mean_ = sum / static_cast<double>(model_.devices);
  new_value_ = static_cast<double>(new_cost_) + kMeanWeight * new_mean_;
  return new_value_ <= most;
}

void Walk::keep() {
  for (const std::int32_t pass : touched_) start_[at(pass)] = changed_[at(pass)];
  cost_ = new_cost_;
  mean_ = new_mean_;
  value_ = new_value_;
  if (origins_moved_) {
    measure_all_tails();
  } else {
    measure_tails();
  }
  undo_.clear();
  from_tick_ = kNever;
  to_tick_ = -1;
}

// Longest paths change only before the changed positions, and as far as they do change.
void Walk::measure_tails() {
  ++round_;
  queue_.clear();
  for (const Undo& one : undo_) {
    const std::int32_t pass = order_[at(one.position)];
    enqueue(-start_[at(pass)], pass);
    const std::int32_t device = model_.device_of_letter(model_.letter_of[at(pass)]);
    if (one.position == model_.begin[at(device)]) continue;
    const std::int32_t before = order_[at(one.position - 1)];
    enqueue(-start_[at(before)], before);
  }
  std::int32_t left = most_queued();
  while (!queue_.empty()) {
    if (left-- == 0) {
      sweep_tails(-queue_.front().first);
      break;
    }
    const std::int32_t pass = dequeue();
    const std::int32_t letter = model_.letter_of[at(pass)];
    const std::int32_t device = model_.device_of_letter(letter);
    const std::int32_t k = position_[at(pass)];
    const std::int64_t tail = tail_of(pass, k, device);
    if (tail == tail_[at(pass)]) continue;
    tail_[at(pass)] = tail;
    if (k > model_.begin[at(device)]) {
      const std::int32_t before = order_[at(k - 1)];
      enqueue(-start_[at(before)], before);
    }
    if (const std::int32_t input = model_.input[at(letter)]; input != 0)
      enqueue(-start_[at(pass + input)], pass + input);
  }
}

std::int64_t Walk::tail_of(std::int32_t pass, std::int32_t k, std::int32_t device) const {
  const std::size_t letter = at(model_.letter_of[at(pass)]);
  std::int64_t tail = model_.ticks[letter];
  tail += k + 1 == model_.begin[at(device + 1)] ? -origin_[at(device)]
                                                : tail_[at(order_[at(k + 1)])];
  if (model_.output_device[letter] >= 0)
    tail = std::max(tail, model_.output_lag[letter] + tail_[at(pass + model_.output[letter])]);
  return tail;
}

void Walk::measure_all_tails() {
  for (std::int32_t d = 0; d < model_.devices; ++d) {
    const std::int32_t first = order_[at(model_.begin[at(d)])];
    origin_[at(d)] = model_.makespan ? 0 : start_[at(first)];
  }
  sweep_tails(kNever);
}

// Of passes that start at `to` or before, device by device from their ends.
void Walk::sweep_tails(std::int64_t to) {
  awake_.clear();
  for (std::int32_t d = 0; d < model_.devices; ++d) {
    const auto last = std::partition_point(
        order_.begin() + model_.begin[at(d)], order_.begin() + model_.begin[at(d + 1)],
        [&](std::int32_t pass) { return start_[at(pass)] <= to; });
    next_[at(d)] = static_cast<std::int32_t>(last - order_.begin());
    blocked_[at(d)] = -1;
    awake_.push_back(d);
  }
  while (!awake_.empty()) {
    const std::int32_t d = awake_.back();
    awake_.pop_back();
    std::int32_t& next = next_[at(d)];
    for (; next > model_.begin[at(d)]; --next) {
      const std::int32_t pass = order_[at(next - 1)];
      const std::size_t letter = at(model_.letter_of[at(pass)]);
      if (const std::int32_t taker = model_.output_device[letter]; taker >= 0) {
        const std::int32_t other = pass + model_.output[letter];
        if (position_[at(other)] < next_[at(taker)]) {
          blocked_[at(d)] = other;
          break;
        }
      }
      tail_[at(pass)] = tail_of(pass, next - 1, d);
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
