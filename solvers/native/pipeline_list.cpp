#include "pipeline_list.hpp"

#include <algorithm>

namespace planner::pipeline {

ListScheduler::ListScheduler(const PipelineModel& model)
    : model_(model), order_(at(model.passes)), start_(at(model.passes)) {}

bool ListScheduler::run(const Targets& targets, std::int64_t most) {
  const std::size_t devices = at(model_.devices);
  for (std::size_t d = 0; d < devices; ++d) {
    std::int64_t least = 0;
    for (const std::int32_t s : model_.stages_of[d]) least += model_.activation[at(s)];
    if (least > model_.limit[d]) return false;
  }
  count_.assign(at(model_.letters), 0);
  next_.assign(model_.begin.begin(), model_.begin.end() - 1);
  clock_.assign(devices, 0);
  wake_.assign(devices, kNever);
  first_.assign(devices, -1);
  left_ = model_.work;
  held_.assign(devices, 0);
  live_.assign(devices, 0);
  wake_[at(model_.device_of[0])] = 0;
  longest_stage_ = 0;
  makespan_ = 0;
  for (done_ = 0; done_ < model_.passes;) {
    const auto soonest = std::min_element(wake_.begin(), wake_.end());
    now_ = *soonest;
    const auto device = static_cast<std::int32_t>(soonest - wake_.begin());
    if (now_ >= kNever) return false;
    *soonest = kNever;
    decide(device, targets);
    const std::int64_t begin = model_.makespan ? 0 : first_[at(device)];
    if (begin >= 0 && clock_[at(device)] + left_[at(device)] - begin > most) return false;
  }
  for (std::size_t d = 0; d < devices; ++d) {
    longest_stage_ = std::max(longest_stage_, clock_[d] - first_[d]);
    makespan_ = std::max(makespan_, clock_[d]);
  }
  return true;
}

void ListScheduler::decide(std::int32_t device, const Targets& targets) {
  const std::int32_t m = model_.microbatches;
  const std::vector<std::int32_t>& mine = model_.stages_of[at(device)];
  Candidate ready, weight, coming, blocked;  // coming: the least target of all to come
  std::int64_t arrival = kNever;             // of the first to come
  std::int64_t reserved = 0;                 // of the later stages without a live copy
  const auto offer = [&](std::int32_t letter, std::int32_t microbatch) {
    const std::int32_t pass = letter * m + microbatch;
    std::int64_t tick = now_;
    if (const std::int32_t input = model_.input[at(letter)]; input != 0)
      tick = start_[at(pass + input)] + model_.input_lag[at(letter)];
    const std::int64_t target = targets.tick[at(pass)];
    if (tick <= now_) {
      if (target < ready.target) ready = {letter, target, tick};
    } else {
      arrival = std::min(arrival, tick);
      if (target < coming.target || (target == coming.target && tick < coming.ready))
        coming = {letter, target, tick};
    }
  };
  for (std::size_t q = mine.size(); q-- > 0;) {
    const std::int32_t s = mine[q];
    const std::int32_t f = 3 * s;
    const std::int32_t forwards = count_[at(f)];
    const std::int32_t backwards = count_[at(f + 1)];
    const std::int32_t weights = count_[at(f + 2)];
    if (weights < backwards) {
      const std::int64_t target = targets.tick[at((f + 2) * m + weights)];
      if (target < weight.target) weight = {f + 2, target, now_};
    }
    const bool last = s == model_.stages - 1;
    if (backwards < forwards && (last || count_[at(f + 4)] > backwards)) offer(f + 1, backwards);
    const std::int64_t size = model_.activation[at(s)];
    if (forwards < m && (s == 0 || count_[at(f - 3)] > forwards)) {
      const std::int64_t limit = model_.limit[at(device)];
      const bool allowed = live_[at(device)] + size + reserved <= limit &&
                           (q > 0 || targets.most_live.empty() ||
                            forwards - backwards < targets.most_live[at(device)]);
      if (allowed && held_[at(device)] + size <= limit) {
        offer(f, forwards);
      } else if (allowed) {
        const std::int64_t target = targets.tick[at(f * m + forwards)];
        if (target < blocked.target) blocked = {f, target, now_};
      }
    }
    if (forwards == backwards) reserved += size;
  }

  if (weight.letter >= 0) {
    const bool due = weight.target < ready.target && weight.target < coming.target;
    const bool room = blocked.letter >= 0 && (ready.letter < 0 || (targets.make_room &&
                                                                   blocked.target < ready.target));
    const auto patience = static_cast<std::int64_t>(
        targets.weight_wait * static_cast<double>(model_.ticks[at(weight.letter)]));
    const bool idle = ready.letter < 0 && (arrival == kNever || arrival - now_ > patience);
    if (due || room || idle) return start(device, weight.letter);
  }
  if (ready.letter < 0) {
    if (arrival < kNever) wake_[at(device)] = std::min(wake_[at(device)], arrival);
    return;
  }
  if (coming.target < ready.target) {
    const auto patience = static_cast<std::int64_t>(
        targets.wait * static_cast<double>(model_.ticks[at(ready.letter)]));
    const std::int64_t gap = coming.ready - now_;
    if (gap < patience) {
      if (weight.letter >= 0 && model_.ticks[at(weight.letter)] <= gap)
        return start(device, weight.letter);
      wake_[at(device)] = std::min(wake_[at(device)], coming.ready);
      return;
    }
  }
  start(device, ready.letter);
}

void ListScheduler::start(std::int32_t device, std::int32_t letter) {
  const std::int32_t pass = letter * model_.microbatches + count_[at(letter)]++;
  const std::int64_t ticks = model_.ticks[at(letter)];
  order_[at(next_[at(device)]++)] = pass;
  start_[at(pass)] = now_;
  if (first_[at(device)] < 0) first_[at(device)] = now_;
  clock_[at(device)] = now_ + ticks;
  left_[at(device)] -= ticks;
  held_[at(device)] += model_.memory[at(letter)];
  const std::int64_t size = model_.activation[at(letter / 3)];
  if (letter % 3 == kForward) live_[at(device)] += size;
  if (letter % 3 == kBackward) live_[at(device)] -= size;
  ++done_;
  wake_[at(device)] = clock_[at(device)];
  const std::int32_t taker = model_.output_device[at(letter)];
  if (taker < 0) return;
  const std::int64_t arrival = std::max(now_ + model_.output_lag[at(letter)], clock_[at(taker)]);
  wake_[at(taker)] = std::min(wake_[at(taker)], arrival);
}

}  // namespace planner::pipeline
