#include "training_greedy.hpp"

#include <algorithm>
#include <queue>
#include <tuple>
#include <utility>

#include "training_state.hpp"

namespace planner::training {

Choice drop_greedily(const TrainingModel& model, const Choice& start, std::int64_t target,
                     Control& control) {
  TrainingState state(model);
  state.assign(start);
  // Bytes per picosecond, with the number of drops at which it was found out; the ratio mostly
  // falls with further drops, so only the best one is looked at again.
  std::priority_queue<std::tuple<double, std::int32_t, std::int32_t>> queue;
  std::int32_t drops = 0;
  const auto ratio = [&](std::int32_t s) {
    const std::int64_t before = state.recompute();
    state.flip_saved(s);
    state.update();
    const std::int64_t more = std::max<std::int64_t>(1, state.recompute() - before);
    state.flip_saved(s);
    state.update();
    return static_cast<double>(model.size[index(s)]) / static_cast<double>(more);
  };
  for (const std::int32_t s : model.storages_to_choose) {
    if (control.stop()) break;
    if (state.choice().saved[index(s)]) queue.emplace(ratio(s), -s, drops);
  }
  Choice best = state.choice();
  std::int64_t best_peak = state.peak();
  while (state.peak() > target && !queue.empty() && !control.stop()) {
    const auto [known, minus_s, found] = queue.top();
    queue.pop();
    if (found != drops) {
      queue.emplace(ratio(-minus_s), minus_s, drops);
      continue;
    }
    state.flip_saved(-minus_s);
    state.update();
    ++drops;
    if (state.peak() < best_peak) {
      best = state.choice();
      best_peak = state.peak();
    }
  }
  return best;
}

}  // namespace planner::training
