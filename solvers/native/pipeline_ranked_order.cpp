#include "pipeline_ranked_order.hpp"

#include <algorithm>
#include <functional>
#include <queue>
#include <utility>
#include <vector>

namespace planner::pipeline {

namespace {

struct Candidate {
  std::int64_t rank;
  std::int64_t ready;
  std::int32_t stage;
  Kind kind;
  bool known;
};

class RankScheduler {
 public:
  RankScheduler(const PipelineModel& model, const std::int64_t* rank, const RankPolicy& policy)
      : model_(model),
        rank_(rank),
        policy_(policy),
        done_(at(model.letters)),
        end_(at(model.passes), kNever),
        next_(model.begin.begin(), model.begin.end() - 1),
        free_at_(at(model.devices)),
        first_start_(at(model.devices), -1),
        held_(at(model.devices)),
        pending_(at(model.devices)),
        forwards_left_(at(model.devices)),
        backwards_(at(model.devices)),
        work_left_(model.work) {
    for (std::size_t device = 0; device < at(model.devices); ++device) {
      forwards_left_[device] =
          static_cast<std::int64_t>(model.stages_of[device].size()) * model.microbatches;
    }
    found_.order.resize(at(model.passes));
  }

  std::optional<RankedOrder> run(Control& control) {
    std::int32_t left = model_.passes;
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
      if (free_at_[at(device)] > now) continue;
      if (run_next(device, now)) --left;
    }
    for (std::int32_t device = 0; device < model_.devices; ++device) {
      const std::int64_t span = free_at_[at(device)] - first_start_[at(device)];
      found_.longest_stage = std::max(found_.longest_stage, span);
      found_.makespan = std::max(found_.makespan, free_at_[at(device)]);
    }
    return std::move(found_);
  }

 private:
  static std::int32_t letter_of(Kind kind, std::int32_t stage) { return 3 * stage + kind; }
  std::int32_t done(Kind kind, std::int32_t stage) const {
    return done_[at(letter_of(kind, stage))];
  }
  std::int32_t next_pass(Kind kind, std::int32_t stage) const {
    return letter_of(kind, stage) * model_.microbatches + done(kind, stage);
  }
  std::int64_t rank_of(Kind kind, std::int32_t stage) const {
    return rank_[at(next_pass(kind, stage))];
  }
  std::int64_t ticks_of(Kind kind, std::int32_t stage) const {
    return model_.ticks[at(letter_of(kind, stage))];
  }
  const std::vector<std::int32_t>& stages_of(std::int32_t device) const {
    return model_.stages_of[at(device)];
  }

  // When the pass can start, or, while that is unknown, a tick before which it cannot.
  Candidate candidate(Kind kind, std::int32_t stage, std::int64_t now) const {
    const std::int32_t microbatch = done(kind, stage);
    Candidate result{rank_of(kind, stage), 0, stage, kind, true};
    const auto wait_for = [&](Kind other, std::int32_t other_stage, std::int64_t hop) {
      const std::int32_t letter = letter_of(other, other_stage);
      const std::int64_t end = end_[at(letter * model_.microbatches + microbatch)];
      result.known = result.known && end != kNever;
      const std::int64_t tick = end != kNever ? end : now + model_.ticks[at(letter)];
      result.ready = std::max(result.ready, tick + hop);
    };
    if (kind == kForward) {
      if (stage > 0) wait_for(kForward, stage - 1, model_.hop[at(stage - 1)]);
    } else {
      wait_for(kForward, stage, 0);
      if (stage + 1 < model_.stages) wait_for(kBackward, stage + 1, model_.hop[at(stage)]);
    }
    return result;
  }

  // Whether the forward pass fits once all pending gradients of weights have run, and leaves
  // room for each later stage of the device that no microbatch is in: without that, devices full
  // of early stages would wait for each other.
  bool can_fit(std::int32_t device, std::int32_t stage) const {
    std::int64_t needed = held_[at(device)] - pending_[at(device)] + model_.activation[at(stage)];
    for (const std::int32_t other : stages_of(device)) {
      if (other > stage && done(kForward, other) == done(kBackward, other) &&
          done(kForward, other) < model_.microbatches) {
        needed += model_.activation[at(other)];
      }
    }
    return needed <= model_.limit[at(device)];
  }

  // With room kept for the forward passes that it overtakes.
  bool fits_now(std::int32_t device, std::int32_t stage, std::int64_t overtaken) const {
    return held_[at(device)] + model_.activation[at(stage)] + overtaken <= model_.limit[at(device)];
  }

  std::int64_t reach(std::int32_t device) const {
    if (backwards_[at(device)] == 0) return policy_.reach_at_start;
    return forwards_left_[at(device)] == 0 ? policy_.reach_at_end : policy_.reach_between;
  }

  // Of the pending gradients of weights: the least rank, or among those that end by `deadline`.
  std::int32_t pending_weight(std::int32_t device, std::int64_t now, std::int64_t deadline) const {
    const bool late = deadline != kNever &&
                      deadline - std::max<std::int64_t>(first_start_[at(device)], 0) +
                              work_left_[at(device)] > policy_.longest_stage;
    const std::int64_t delay = late ? 100 : policy_.weight_delay;
    std::int32_t best = -1;
    for (const std::int32_t stage : stages_of(device)) {
      if (done(kWeight, stage) == done(kBackward, stage)) continue;
      const std::int64_t ticks = ticks_of(kWeight, stage);
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
    for (const std::int32_t stage : stages_of(device)) {
      for (const Kind kind : {kForward, kBackward}) {
        if (done(kind, stage) == model_.microbatches) continue;
        if (kind == kForward && !can_fit(device, stage)) continue;
        list_.push_back(candidate(kind, stage, now));
      }
    }
    std::sort(list_.begin(), list_.end(), [](const Candidate& a, const Candidate& b) {
      return a.rank != b.rank ? a.rank < b.rank : a.stage < b.stage;
    });
    const std::int32_t weight = pending_weight(device, now, kNever);
    if (!policy_.lazy_weights && weight >= 0 &&
        (list_.empty() || rank_of(kWeight, weight) < list_.front().rank)) {
      return start(device, kWeight, weight, 0, now);
    }
    std::int64_t deadline = kNever;
    std::int64_t overtaken = 0;
    std::int64_t last_rank = kNever;
    for (const Candidate& item : list_) {
      if (item.rank > last_rank) break;
      const std::int64_t ticks = ticks_of(item.kind, item.stage);
      if (item.known && item.ready <= now) {
        if (now + ticks <= deadline) {
          const bool fits = item.kind != kForward || fits_now(device, item.stage, overtaken);
          if (fits) return start(device, item.kind, item.stage, item.ready, now);
          if (deadline == kNever) return start(device, kWeight, weight, 0, now);
        }
      } else {
        if (stuck_) continue;
        if (item.kind == kForward) overtaken += model_.activation[at(item.stage)];
        if (deadline == kNever) last_rank = item.rank + reach(device);
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
    const std::int32_t pass = next_pass(kind, stage);
    ++done_[at(letter_of(kind, stage))];
    const std::int64_t begin = std::max(free_at_[at(device)], ready);
    const std::int64_t end = begin + ticks_of(kind, stage);
    work_left_[at(device)] -= ticks_of(kind, stage);
    if (first_start_[at(device)] < 0) first_start_[at(device)] = begin;
    free_at_[at(device)] = end;
    found_.order[at(next_[at(device)]++)] = pass;
    wakes_.emplace(std::max(end, now), device);
    if (kind == kForward) {
      held_[at(device)] += model_.activation[at(stage)];
      --forwards_left_[at(device)];
      if (stage + 1 < model_.stages) wake(stage + 1, std::max(now, end + model_.hop[at(stage)]));
    } else if (kind == kBackward) {
      held_[at(device)] -= model_.activation[at(stage)] - model_.kept[at(stage)];
      pending_[at(device)] += model_.kept[at(stage)];
      ++backwards_[at(device)];
      if (stage > 0) wake(stage - 1, std::max(now, end + model_.hop[at(stage - 1)]));
    } else {
      held_[at(device)] -= model_.kept[at(stage)];
      pending_[at(device)] -= model_.kept[at(stage)];
      return true;
    }
    end_[at(pass)] = end;
    return true;
  }

  void wake(std::int32_t stage, std::int64_t tick) {
    wakes_.emplace(tick, model_.device_of[at(stage)]);
  }

  const PipelineModel& model_;
  const std::int64_t* rank_;
  const RankPolicy& policy_;
  std::vector<std::int32_t> done_;  // per letter
  std::vector<std::int64_t> end_;   // per pass
  std::vector<std::int32_t> next_;  // per device, where its next pass goes
  std::vector<std::int64_t> free_at_, first_start_, held_, pending_, forwards_left_, backwards_,
      work_left_;
  using Wake = std::pair<std::int64_t, std::int32_t>;
  std::priority_queue<Wake, std::vector<Wake>, std::greater<>> wakes_;
  std::vector<Candidate> list_;
  bool stuck_ = false;
  RankedOrder found_;
};

}  // namespace

std::optional<RankedOrder> order_by_rank(const PipelineModel& model, const std::int64_t* rank,
                                         const RankPolicy& policy, Control& control) {
  return RankScheduler(model, rank, policy).run(control);
}

}  // namespace planner::pipeline
