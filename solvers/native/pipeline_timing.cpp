#include "pipeline_timing.hpp"

#include <algorithm>

namespace planner::pipeline {

namespace {

std::int64_t end_of(const PipelineModel& model, const Order& order,
                    const std::vector<std::int64_t>& start, std::int32_t device) {
  const std::int32_t pass = order[at(model.begin[at(device + 1)] - 1)];
  return start[at(pass)] + model.ticks[at(model.letter_of[at(pass)])];
}

void count_cost(const PipelineModel& model, const Order& order, Timing& timing) {
  timing.cost = 0;
  std::int64_t begin = kNever;
  std::int64_t end = 0;
  for (std::int32_t d = 0; d < model.devices; ++d) {
    const std::int64_t mine = timing.start[at(order[at(model.begin[at(d)])])];
    const std::int64_t stop = end_of(model, order, timing.start, d);
    begin = std::min(begin, mine);
    end = std::max(end, stop);
    timing.cost = std::max(timing.cost, stop - mine);
  }
  if (model.makespan) timing.cost = end - begin;
}

// Longest paths from each device's first pass to the end of each device's last.
std::vector<std::int64_t> longest_paths(const PipelineModel& model, const Order& order,
                                        const Timing& timing) {
  const std::size_t devices = at(model.devices);
  std::vector<std::int64_t> paths(devices * devices, -kNever);
  std::vector<std::int64_t> reach(at(model.passes));
  std::vector<std::int32_t> before(at(model.passes), -1);
  for (std::int32_t d = 0; d < model.devices; ++d)
    for (std::int32_t k = model.begin[at(d)] + 1; k < model.begin[at(d + 1)]; ++k)
      before[at(order[at(k)])] = order[at(k - 1)];
  for (std::int32_t from = 0; from < model.devices; ++from) {
    const std::int32_t source = order[at(model.begin[at(from)])];
    for (const std::int32_t pass : timing.sequence) {
      const std::int32_t letter = model.letter_of[at(pass)];
      std::int64_t best = pass == source ? 0 : -kNever;
      if (before[at(pass)] >= 0) {
        const std::int32_t other = before[at(pass)];
        best = std::max(best, reach[at(other)] + model.ticks[at(model.letter_of[at(other)])]);
      }
      if (model.input[at(letter)] != 0)
        best = std::max(best, reach[at(pass + model.input[at(letter)])] +
                                  model.input_lag[at(letter)]);
      reach[at(pass)] = best < 0 ? -kNever : best;
    }
    for (std::int32_t to = 0; to < model.devices; ++to) {
      const std::int64_t path = end_of(model, order, reach, to);
      paths[at(from) * devices + at(to)] = path < 0 ? -kNever : path;
    }
  }
  return paths;
}

// Delays `first` until no device, started at `first`, ends more than `target` later; whether that
// comes to rest, as it does unless a cycle of paths is longer than its devices times the target.
bool delay(const std::vector<std::int64_t>& paths, std::int64_t target,
           std::vector<std::int64_t>& first) {
  const std::size_t devices = first.size();
  for (std::size_t round = 0; round <= devices; ++round) {
    bool moved = false;
    for (std::size_t from = 0; from < devices; ++from)
      for (std::size_t to = 0; to < devices; ++to) {
        const std::int64_t path = paths[from * devices + to];
        if (path < 0 || first[from] + path - target <= first[to]) continue;
        first[to] = first[from] + path - target;
        moved = true;
      }
    if (!moved) return true;
  }
  return false;
}

}  // namespace

Timing earliest(const PipelineModel& model, const Order& order,
                const std::vector<std::int64_t>& release) {
  Timing timing;
  timing.start.assign(at(model.passes), -1);
  timing.sequence.reserve(at(model.passes));
  timing.release = release;
  timing.release.resize(at(model.devices), 0);
  std::vector<std::int32_t> next(model.begin.begin(), model.begin.end() - 1);
  std::vector<std::int64_t> clock = timing.release;
  std::vector<std::int32_t> blocked(at(model.devices), -1);
  std::vector<std::int32_t> awake;
  for (std::int32_t d = model.devices; d-- > 0;) awake.push_back(d);
  while (!awake.empty()) {
    const std::int32_t d = awake.back();
    awake.pop_back();
    for (; next[at(d)] < model.begin[at(d + 1)]; ++next[at(d)]) {
      const std::int32_t pass = order[at(next[at(d)])];
      const std::int32_t letter = model.letter_of[at(pass)];
      std::int64_t tick = clock[at(d)];
      if (const std::int32_t input = model.input[at(letter)]; input != 0) {
        const std::int64_t other = timing.start[at(pass + input)];
        if (other < 0) {
          blocked[at(d)] = pass + input;
          break;
        }
        tick = std::max(tick, other + model.input_lag[at(letter)]);
      }
      timing.start[at(pass)] = tick;
      timing.sequence.push_back(pass);
      clock[at(d)] = tick + model.ticks[at(letter)];
      const std::int32_t taker = model.output_device[at(letter)];
      if (taker >= 0 && blocked[at(taker)] == pass) {
        blocked[at(taker)] = -1;
        awake.push_back(taker);
      }
    }
  }
  timing.deadlock = timing.sequence.size() != at(model.passes);
  if (!timing.deadlock) count_cost(model, order, timing);
  return timing;
}

Timing best_timing(const PipelineModel& model, const Order& order) {
  Timing timing = earliest(model, order, {});
  if (timing.deadlock || model.makespan) return timing;
  std::vector<std::int64_t> first;
  for (std::int32_t d = 0; d < model.devices; ++d)
    first.push_back(timing.start[at(order[at(model.begin[at(d)])])]);
  const std::vector<std::int64_t> paths = longest_paths(model, order, timing);
  std::int64_t low = 0;  // the least target that may be met
  for (std::int32_t d = 0; d < model.devices; ++d)
    low = std::max(low, paths[at(d) * at(model.devices) + at(d)]);
  std::int64_t high = timing.cost;
  std::vector<std::int64_t> best = first;
  while (low < high) {
    const std::int64_t target = low + (high - low) / 2;
    std::vector<std::int64_t> later = first;
    if (delay(paths, target, later)) {
      high = target;
      best = std::move(later);
    } else {
      low = target + 1;
    }
  }
  return earliest(model, order, best);
}

}  // namespace planner::pipeline
