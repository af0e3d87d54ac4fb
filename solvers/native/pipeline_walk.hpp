// One schedule under small changes of its orders: times, longest paths to the end, and memory.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "pipeline_model.hpp"

namespace planner::pipeline {

// A change is a number of shifts of passes within their devices' orders; it is evaluated, then
// kept or undone.
class Walk {
 public:
  Walk(const PipelineModel& model, const Order& order, std::vector<std::int64_t> release);

  // Moves the pass at `from` to `to`, both positions in the order of one device. Passes of its
  // letter in between swap microbatches with it. False, and nothing changes, if a pass would then
  // precede one of its device that it needs, the memory would not do, or the word stays the same.
  bool shift(std::int32_t from, std::int32_t to);

  // Times of the changed order, where they change: whether its value is at most `most`. Once it
  // takes longer, the rest is not looked at.
  bool evaluate(double most);
  void keep();
  void undo();

  // Cost, and a tenth of the mean stage besides, so that plateaus have a slope.
  double value() const { return value_; }
  std::int64_t cost() const { return cost_; }
  const Order& order() const { return order_; }
  std::int32_t position(std::int32_t pass) const { return position_[at(pass)]; }

  // Positions of passes on one longest path to the end of a device that takes longest.
  template <class Random>
  void trace(Random& random, std::vector<std::int32_t>& positions) const;

 private:
  struct Undo {
    std::int32_t position, pass;
    std::int64_t level;
  };

  void time_all();
  void restore(std::size_t length);
  bool fits(std::int32_t low, std::int32_t high, std::int32_t letter) const;
  std::int64_t time_of(std::int32_t pass) const;
  void set_time(std::int32_t pass, std::int64_t tick);
  bool sweep(std::int64_t from, std::int64_t to);
  std::int32_t most_queued() const;
  void enqueue(std::int64_t key, std::int32_t pass);
  std::int32_t dequeue();
  void enqueue_takers(std::int32_t pass);
  void measure_tails();
  void measure_all_tails();
  void sweep_tails(std::int64_t to);
  std::int64_t tail_of(std::int32_t pass, std::int32_t k, std::int32_t device) const;
  std::int64_t ticks_of(std::int32_t pass) const {
    return model_.ticks[at(model_.letter_of[at(pass)])];
  }
  std::int64_t origin(std::int32_t device, const std::vector<std::int64_t>& start) const {
    return model_.makespan ? 0 : start[at(order_[at(model_.begin[at(device)])])];
  }

  const PipelineModel& model_;
  Order order_;
  std::vector<std::int64_t> release_;   // per device
  std::vector<std::int32_t> position_;  // per pass
  std::vector<std::int64_t> start_;     // per pass
  // Per pass, ticks from its start to the end of a device, less that device's first start, at most.
  std::vector<std::int64_t> tail_;
  std::vector<std::int64_t> level_;  // per position, bytes held after the pass
  double value_ = 0.0, mean_ = 0.0;
  std::int64_t cost_ = 0;

  // Of the change.
  std::vector<Undo> undo_;
  std::int64_t from_tick_ = kNever, to_tick_ = -1;  // in the times before it
  std::vector<std::int64_t> changed_;               // per pass, new starts
  std::vector<std::int32_t> stamp_;                 // per pass, of its new start
  std::int32_t round_ = 0;
  std::vector<std::int32_t> touched_;               // passes with new starts
  std::vector<std::pair<std::int64_t, std::int32_t>> queue_;  // a heap of passes to look at again
  std::vector<std::int32_t> queued_;  // per pass, the round in which it is in the queue
  std::vector<std::int32_t> next_, blocked_, awake_, sweep_end_;
  std::vector<std::int64_t> origin_;  // per device, the start that its tails are measured from
  std::vector<std::int64_t> clock_;
  bool origins_moved_ = false;
  double new_value_ = 0.0, new_mean_ = 0.0;
  std::int64_t new_cost_ = 0;
};

template <class Random>
void Walk::trace(Random& random, std::vector<std::int32_t>& positions) const {
  positions.clear();
  std::int32_t worst = 0;
  std::int64_t longest = -1;
  std::int32_t ties = 0;
  for (std::int32_t d = 0; d < model_.devices; ++d) {
    const std::int32_t last = order_[at(model_.begin[at(d + 1)] - 1)];
    const std::int64_t span = start_[at(last)] + ticks_of(last) - origin(d, start_);
    if (span < longest) continue;
    ties = span == longest ? ties + 1 : 1;
    if (span > longest || random.below(ties) == 0) worst = d;
    longest = span;
  }
  std::int32_t device = worst;
  std::int32_t k = model_.begin[at(worst + 1)] - 1;
  for (;;) {
    positions.push_back(k);
    const std::int32_t pass = order_[at(k)];
    const std::int32_t letter = model_.letter_of[at(pass)];
    const std::int64_t tick = start_[at(pass)];
    bool own = false;
    if (k > model_.begin[at(device)]) {
      const std::int32_t before = order_[at(k - 1)];
      own = start_[at(before)] + ticks_of(before) == tick;
    }
    const std::int32_t input = model_.input[at(letter)];
    const bool fed =
        input != 0 && start_[at(pass + input)] + model_.input_lag[at(letter)] == tick;
    if (fed && (!own || random.below(2) == 0)) {
      k = position_[at(pass + input)];
      device = model_.device_of_letter(model_.letter_of[at(pass + input)]);
    } else if (own) {
      --k;
    } else {
      return;
    }
  }
}

}  // namespace planner::pipeline
