#include "pipeline_blocks.hpp"

#include <algorithm>
#include <functional>
#include <limits>
#include <queue>
#include <utility>

namespace planner::pipeline_blocks {

namespace {

constexpr std::int64_t kUnknown = std::numeric_limits<std::int64_t>::max() / 4;

struct Candidate {
  std::int64_t rank;
  std::int64_t ready;
  std::int32_t stage;
  Kind kind;
  bool known;
};

class Scheduler {
 public:
  Scheduler(const Model& model, const std::int64_t* rank, const Policy& policy)
      : model_(model), rank_(rank), policy_(policy), local_(model.devices) {
    const auto stages = static_cast<std::size_t>(model.stages());
    for (std::int32_t stage = 0; stage < model.stages(); ++stage) {
      local_[model.device_of[stage]].push_back(stage);
    }
    for (auto& done : done_) done.assign(stages, 0);
    for (auto& end : end_) end.assign(stages * model.microbatches, kUnknown);
    const auto devices = static_cast<std::size_t>(model.devices);
    free_at_.assign(devices, 0);
    first_start_.assign(devices, -1);
    held_.assign(devices, 0);
    pending_.assign(devices, 0);
    forwards_left_.assign(devices, 0);
    backwards_.assign(devices, 0);
    work_left_.assign(devices, 0);
    for (std::int32_t device = 0; device < model.devices; ++device) {
      forwards_left_[device] =
          static_cast<std::int64_t>(local_[device].size()) * model.microbatches;
      for (const std::int32_t stage : local_[device]) {
        for (const auto& ticks : model.ticks) {
          work_left_[device] += ticks[stage] * model.microbatches;
        }
      }
    }
    order_.passes.resize(devices);
  }

  std::optional<Order> run(Control& control) {
    std::int64_t left = std::int64_t{kKinds} * model_.stages() * model_.microbatches;
    for (std::int32_t device = 0; device < model_.devices; ++device) wakes_.emplace(0, device);
    std::int64_t tick = 0;
    while (left > 0) {
      if (control.stop()) return std::nullopt;
      if (wakes_.empty()) {
        if (!run_any(tick)) return std::nullopt;
        --left;
        continue;
      }
      const auto [now, device] = wakes_.top();
      wakes_.pop();
      tick = now;
      if (free_at_[device] > now) continue;
      if (run_next(device, now)) --left;
    }
    for (std::int32_t device = 0; device < model_.devices; ++device) {
      const std::int64_t span = free_at_[device] - first_start_[device];
      order_.longest_stage = std::max(order_.longest_stage, span);
      order_.makespan = std::max(order_.makespan, free_at_[device]);
    }
    return std::move(order_);
  }

 private:
  std::size_t at(std::int32_t stage, std::int32_t microbatch) const {
    return static_cast<std::size_t>(stage) * model_.microbatches + microbatch;
  }

  std::int64_t rank_of(Kind kind, std::int32_t stage) const {
    return rank_[static_cast<std::size_t>(kind) * model_.stages() * model_.microbatches +
                 at(stage, done_[kind][stage])];
  }

  // When the pass can start, or, while that is unknown, a tick before which it cannot.
  Candidate candidate(Kind kind, std::int32_t stage, std::int64_t now) const {
    const std::int32_t microbatch = done_[kind][stage];
    Candidate result{rank_of(kind, stage), 0, stage, kind, true};
    const auto wait_for = [&](Kind other, std::int32_t other_stage, std::int64_t hop) {
      const std::int64_t end = end_[other][at(other_stage, microbatch)];
      result.known = result.known && end != kUnknown;
      const std::int64_t tick = end != kUnknown ? end : now + model_.ticks[other][other_stage];
      result.ready = std::max(result.ready, tick + hop);
    };
    if (kind == kForward) {
      if (stage > 0) wait_for(kForward, stage - 1, model_.hop[stage - 1]);
    } else {
      wait_for(kForward, stage, 0);
      if (stage + 1 < model_.stages()) wait_for(kBackward, stage + 1, model_.hop[stage]);
    }
    return result;
  }

  // Whether the forward pass fits once all pending gradients of weights have run, and leaves
  // room for each later stage of the device that no microbatch is in: without that, devices full
  // of early stages would wait for each other.
  bool can_fit(std::int32_t device, std::int32_t stage) const {
    std::int64_t needed = held_[device] - pending_[device] + model_.activation[stage];
    for (const std::int32_t other : local_[device]) {
      if (other > stage && done_[kForward][other] == done_[kBackward][other] &&
          done_[kForward][other] < model_.microbatches) {
        needed += model_.activation[other];
      }
    }
    return needed <= model_.limit[device];
  }

  // With room kept for the forward passes that it overtakes.
  bool fits_now(std::int32_t device, std::int32_t stage, std::int64_t overtaken) const {
    return held_[device] + model_.activation[stage] + overtaken <= model_.limit[device];
  }

  std::int64_t reach(std::int32_t device) const {
    if (backwards_[device] == 0) return policy_.reach_at_start;
    return forwards_left_[device] == 0 ? policy_.reach_at_end : policy_.reach_between;
  }

  // Of the pending gradients of weights: the least rank, or among those that end by `deadline`.
  std::int32_t pending_weight(std::int32_t device, std::int64_t now, std::int64_t deadline) const {
    const bool late = deadline != kUnknown &&
                      deadline - std::max<std::int64_t>(first_start_[device], 0) +
                              work_left_[device] > policy_.longest_stage;
    const std::int64_t delay = late ? 100 : policy_.weight_delay;
    std::int32_t best = -1;
    for (const std::int32_t stage : local_[device]) {
      if (done_[kWeight][stage] == done_[kBackward][stage]) continue;
      const std::int64_t ticks = model_.ticks[kWeight][stage];
      if (now + ticks > deadline + ticks * delay / 100) continue;
      if (best < 0 || rank_of(kWeight, stage) < rank_of(kWeight, best)) best = stage;
    }
    return best;
  }

  // When all devices wait for each other, one of them leaves the order of the ranks.
  bool run_any(std::int64_t now) {
    stuck_ = true;
    bool started = false;
    for (std::int32_t device = 0; device < model_.devices && !started; ++device) {
      started = run_next(device, now);
    }
    stuck_ = false;
    return started;
  }

  bool run_next(std::int32_t device, std::int64_t now) {
    list_.clear();
    for (const std::int32_t stage : local_[device]) {
      for (const Kind kind : {kForward, kBackward}) {
        if (done_[kind][stage] == model_.microbatches) continue;
        if (kind == kForward && !can_fit(device, stage)) continue;
        list_.push_back(candidate(kind, stage, now));
      }
    }
    std::sort(list_.begin(), list_.end(), [](const Candidate& a, const Candidate& b) {
      return a.rank != b.rank ? a.rank < b.rank : a.stage < b.stage;
    });
    const std::int32_t weight = pending_weight(device, now, kUnknown);
    if (!policy_.lazy_weights && weight >= 0 &&
        (list_.empty() || rank_of(kWeight, weight) < list_.front().rank)) {
      return start(device, kWeight, weight, 0, now);
    }
    std::int64_t deadline = kUnknown;
    std::int64_t overtaken = 0;
    std::int64_t last_rank = kUnknown;
    for (const Candidate& item : list_) {
      if (item.rank > last_rank) break;
      const std::int64_t ticks = model_.ticks[item.kind][item.stage];
      if (item.known && item.ready <= now) {
        const bool delays = now + ticks > deadline + ticks * policy_.overtaking_delay / 100;
        if (!delays) {
          const bool fits = item.kind != kForward || fits_now(device, item.stage, overtaken);
          if (fits) return start(device, item.kind, item.stage, item.ready, now);
          if (deadline == kUnknown) return start(device, kWeight, weight, 0, now);
        }
      } else {
        if (stuck_) continue;
        if (item.kind == kForward) overtaken += model_.activation[item.stage];
        if (deadline == kUnknown) last_rank = item.rank + reach(device);
        deadline = std::min(deadline, item.ready);
      }
    }
    const std::int32_t filling = pending_weight(device, now, deadline);
    return filling >= 0 && start(device, kWeight, filling, 0, now);
  }

  // Chosen `now`, a pass starts as early as its order allows: what the device waited for before it
  // chose does not hold it up.
  bool start(std::int32_t device, Kind kind, std::int32_t stage, std::int64_t ready,
             std::int64_t now) {
    const std::int32_t microbatch = done_[kind][stage]++;
    const std::int64_t begin = std::max(free_at_[device], ready);
    const std::int64_t end = begin + model_.ticks[kind][stage];
    work_left_[device] -= model_.ticks[kind][stage];
    if (first_start_[device] < 0) first_start_[device] = begin;
    free_at_[device] = end;
    order_.passes[device].push_back(kind * model_.stages() + stage);
    wakes_.emplace(std::max(end, now), device);
    if (kind == kForward) {
      held_[device] += model_.activation[stage];
      --forwards_left_[device];
      if (stage + 1 < model_.stages()) wake(stage + 1, std::max(now, end + model_.hop[stage]));
    } else if (kind == kBackward) {
      held_[device] -= model_.activation[stage] - model_.kept[stage];
      pending_[device] += model_.kept[stage];
      ++backwards_[device];
      if (stage > 0) wake(stage - 1, std::max(now, end + model_.hop[stage - 1]));
    } else {
      held_[device] -= model_.kept[stage];
      pending_[device] -= model_.kept[stage];
      return true;
    }
    end_[kind][at(stage, microbatch)] = end;
    return true;
  }

  void wake(std::int32_t stage, std::int64_t tick) {
    wakes_.emplace(tick, model_.device_of[stage]);
  }

  const Model& model_;
  const std::int64_t* rank_;
  const Policy& policy_;
  std::vector<std::vector<std::int32_t>> local_;
  std::vector<std::int32_t> done_[kKinds];
  std::vector<std::int64_t> end_[kWeight];
  std::vector<std::int64_t> free_at_, first_start_, held_, pending_, forwards_left_, backwards_,
      work_left_;
  using Wake = std::pair<std::int64_t, std::int32_t>;
  std::priority_queue<Wake, std::vector<Wake>, std::greater<>> wakes_;
  std::vector<Candidate> list_;
  bool stuck_ = false;
  Order order_;
};

}  // namespace

std::optional<Order> order_by_rank(const Model& model, const std::int64_t* rank,
                                   const Policy& policy, Control& control) {
  return Scheduler(model, rank, policy).run(control);
}

}  // namespace planner::pipeline_blocks
