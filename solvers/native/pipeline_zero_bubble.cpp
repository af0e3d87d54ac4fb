#include "pipeline_zero_bubble.hpp"

#include <algorithm>
#include <cstddef>
#include <functional>
#include <queue>
#include <random>
#include <utility>

namespace planner::zero_bubble {

namespace {

using pipeline::kNever;

struct Device {
  std::int32_t done[3] = {0, 0, 0};
  Ticks clock = 0;
  Ticks first = 0;
  Bytes held = 0;
};

class Player {
 public:
  Player(const Problem& problem, const std::vector<Setting>& settings, Words* words)
      : stages_(problem.stages),
        settings_(settings),
        m_(problem.microbatches),
        last_(static_cast<std::int32_t>(problem.stages.size()) - 1),
        devices_(problem.stages.size()),
        forward_(problem.stages.size() * static_cast<std::size_t>(m_)),
        backward_(forward_.size()),
        words_(words) {
    if (words_ != nullptr) words_->assign(stages_.size(), {});
  }

  Cost run(bool makespan) {
    wake(0, 0);
    while (!queue_.empty()) {
      const auto [now, device] = queue_.top();
      queue_.pop();
      if (devices_[static_cast<std::size_t>(device)].clock <= now) decide(device, now);
    }
    Cost cost{0, 0};
    for (const Device& device : devices_) {
      const Ticks span = device.clock - device.first;
      cost.worst = std::max(cost.worst, makespan ? device.clock : span);
      cost.total += span;
    }
    return cost;
  }

 private:
  Device& at(std::int32_t device) { return devices_[static_cast<std::size_t>(device)]; }
  const Stage& stage(std::int32_t device) const {
    return stages_[static_cast<std::size_t>(device)];
  }
  std::size_t index(std::int32_t device, std::int32_t microbatch) const {
    return static_cast<std::size_t>(device) * static_cast<std::size_t>(m_) +
           static_cast<std::size_t>(microbatch);
  }
  void wake(std::int32_t device, Ticks when) { queue_.emplace(when, device); }

  // When the next forward pass can start; below `now` + the answer if nobody knows yet.
  Ticks forward_ready(std::int32_t device, Ticks now, bool& known) {
    const std::int32_t next = at(device).done[kForward];
    known = true;
    if (device == 0) return now;
    const Device& before = at(device - 1);
    if (next < before.done[kForward]) {
      return forward_[index(device - 1, next)] + stage(device - 1).hop;
    }
    known = false;
    return std::max(now, before.clock) + stage(device - 1).forward + stage(device - 1).hop;
  }

  Ticks backward_ready(std::int32_t device, Ticks now, bool& known) {
    const Device& own = at(device);
    const std::int32_t next = own.done[kBackward];
    known = true;
    if (next >= own.done[kForward]) return kNever;
    if (device == last_) return now;
    const Device& after = at(device + 1);
    if (next < after.done[kBackward]) {
      return backward_[index(device + 1, next)] + stage(device).hop;
    }
    known = false;
    return std::max(now, after.clock) + stage(device + 1).backward + stage(device).hop;
  }

  void decide(std::int32_t device, Ticks now) {
    const Device& own = at(device);
    const Stage& costs = stage(device);
    const Setting& setting = settings_[static_cast<std::size_t>(device)];
    const std::int32_t lead = own.done[kForward] - own.done[kBackward];
    const bool has_weight = own.done[kWeight] < own.done[kBackward];
    const bool left = own.done[kForward] < m_;
    const bool fits = own.held + costs.activation <= costs.limit;
    const bool warm = own.done[kBackward] > 0 || own.done[kForward] < setting.ahead;

    bool forward_known = false;
    bool backward_known = false;
    const Ticks forward = left ? forward_ready(device, now, forward_known) : kNever;
    const Ticks backward = backward_ready(device, now, backward_known);
    const bool forward_here = forward_known && forward <= now;
    const bool can_forward = forward_here && fits && warm;
    const bool can_backward = backward_known && backward <= now;
    const bool wants_lead = own.done[kBackward] == 0 || lead < setting.lead;

    if (can_backward) {
      if (can_forward && wants_lead) return start(device, now, kForward);
      if (forward_here && !fits && has_weight && setting.make_room && lead < setting.lead) {
        return start(device, now, kWeight);
      }
      return start(device, now, kBackward);
    }
    if (can_forward && (wants_lead || !setting.hold_back || !has_weight)) {
      return start(device, now, kForward);
    }
    if (has_weight) {
      Ticks next = backward;
      if (left && fits && warm && !can_forward) next = std::min(next, forward);
      const bool blocked = forward_here && !fits && lead < setting.lead;
      if (blocked || next >= kNever ||
          static_cast<double>(next - now) >= setting.gap * static_cast<double>(costs.weight)) {
        return start(device, now, kWeight);
      }
      if (can_forward && next - now >= costs.weight / 2) return start(device, now, kForward);
    }
    // Both are woken for what arrives: only what is here already has to be waited for.
  }

  void start(std::int32_t device, Ticks now, Kind kind) {
    Device& own = at(device);
    const Stage& costs = stage(device);
    if (own.done[kForward] == 0) own.first = now;
    const std::int32_t microbatch = own.done[kind]++;
    const Ticks end =
        now + (kind == kForward ? costs.forward
                                : kind == kBackward ? costs.backward : costs.weight);
    own.clock = end;
    if (kind == kForward) {
      own.held += costs.activation;
      forward_[index(device, microbatch)] = end;
      if (device < last_) announce(device + 1, now, end + costs.hop);
    } else if (kind == kBackward) {
      own.held -= costs.activation - costs.kept;
      backward_[index(device, microbatch)] = end;
      if (device > 0) announce(device - 1, now, end + stage(device - 1).hop);
    } else {
      own.held -= costs.kept;
    }
    if (words_ != nullptr) (*words_)[static_cast<std::size_t>(device)].push_back(static_cast<std::uint8_t>(kind));
    wake(device, end);
  }

  // Now that the arrival is known, a device that waits may see that its gap is worth filling.
  void announce(std::int32_t device, Ticks now, Ticks arrival) {
    if (at(device).clock <= now) wake(device, now);
    wake(device, std::max(arrival, at(device).clock));
  }

  using Event = std::pair<Ticks, std::int32_t>;

  const std::vector<Stage>& stages_;
  const std::vector<Setting>& settings_;
  const std::int32_t m_;
  const std::int32_t last_;
  std::vector<Device> devices_;
  std::vector<Ticks> forward_;   // Ends, by device and microbatch.
  std::vector<Ticks> backward_;  // Likewise.
  Words* words_;
  std::priority_queue<Event, std::vector<Event>, std::greater<Event>> queue_;
};

// Forward passes of each device that end before the first gradient arrives, and one more where
// asked for: that one delays the gradient.
std::vector<std::int32_t> forwards_ahead(const Problem& problem, const std::vector<bool>& more) {
  const std::size_t devices = problem.stages.size();
  const auto m = static_cast<std::size_t>(problem.microbatches);
  std::vector<std::vector<Ticks>> ends(devices, std::vector<Ticks>(m));
  for (std::size_t d = 0; d < devices; ++d) {
    for (std::size_t j = 0; j < m; ++j) {
      const Ticks arrival = d == 0 ? 0 : ends[d - 1][j] + problem.stages[d - 1].hop;
      const Ticks free = j == 0 ? 0 : ends[d][j - 1];
      ends[d][j] = std::max(arrival, free) + problem.stages[d].forward;
    }
  }
  std::vector<std::int32_t> ahead(devices, 1);
  Ticks gradient = ends[devices - 1][0];
  for (std::size_t d = devices; d-- > 0;) {
    const Stage& stage = problem.stages[d];
    std::size_t count = 1;
    const auto room = stage.activation > 0
                          ? static_cast<std::size_t>(std::min<Bytes>(
                                stage.limit / stage.activation, problem.microbatches))
                          : m;
    while (count < room && ends[d][count] <= gradient) ++count;
    if (more[d] && count < room && ends[d][count] - stage.forward < gradient + stage.forward) {
      ++count;
    }
    ahead[d] = static_cast<std::int32_t>(count);
    gradient = std::max(gradient, ends[d][count - 1]) + stage.backward;
    if (d > 0) gradient += problem.stages[d - 1].hop;
  }
  return ahead;
}

}  // namespace

Problem::Problem(const pipeline::PipelineModel& model)
    : microbatches(model.microbatches), makespan(model.makespan) {
  for (std::size_t s = 0; s < static_cast<std::size_t>(model.stages); ++s) {
    stages.push_back({model.ticks[3 * s], model.ticks[3 * s + 1], model.ticks[3 * s + 2],
                      model.hop[s], model.activation[s], model.kept[s], model.limit[s]});
  }
}

Cost play(const Problem& problem, const std::vector<Setting>& settings, Words* words) {
  return Player(problem, settings, words).run(problem.makespan);
}

Found search(const Problem& problem, std::int64_t budget, std::uint64_t seed, Control& control) {
  const std::size_t devices = problem.stages.size();
  const auto per_play =
      static_cast<std::int64_t>(devices) * std::int64_t{3} * problem.microbatches;
  std::int64_t left = std::max<std::int64_t>(budget / per_play, 1);
  std::int64_t plays = 0;
  std::vector<Setting> best;
  Cost cost{kNever, kNever};
  const auto consider = [&](const std::vector<Setting>& settings) {
    const Cost found = play(problem, settings, nullptr);
    ++plays;
    --left;
    if (cost < found) return;
    cost = found;
    best = settings;
  };

  for (const bool more : {false, true}) {
    const auto ahead = forwards_ahead(problem, std::vector<bool>(devices, more));
    for (const int rule : {0, 1, 2}) {
      for (const bool make_room : {false, true}) {
        for (const bool hold_back : {false, true}) {
          for (const double gap : {0.0, 0.5, 1.0}) {
            if (!best.empty() && (left <= 0 || control.stop_now())) break;
            std::vector<Setting> settings(devices);
            for (std::size_t d = 0; d < devices; ++d) {
              const auto behind = static_cast<std::int32_t>(devices - d);
              const std::int32_t lead = rule == 0   ? ahead[d]
                                        : rule == 1 ? behind
                                                    : std::max(ahead[d] - 1, 1);
              settings[d] = {ahead[d], lead, gap, make_room, hold_back};
            }
            consider(settings);
          }
        }
      }
    }
  }

  std::mt19937_64 random(seed);
  const auto below = [&](std::size_t n) { return static_cast<std::size_t>(random() % n); };
  while (left > 0 && !control.stop_now()) {
    std::vector<Setting> settings = best;
    const std::size_t changes = 1 + below(3);
    for (std::size_t change = 0; change < changes; ++change) {
      const std::size_t from = below(devices);
      const std::size_t to = below(2) == 0 ? from + 1 : from + 1 + below(devices - from);
      const std::size_t what = below(8);
      const int step = below(2) == 0 ? -1 : 1;
      const double gap = static_cast<double>(below(9)) / 8.0;
      for (std::size_t d = from; d < to; ++d) {
        Setting& own = settings[d];
        if (what < 3) own.ahead = std::max(own.ahead + step, 1);
        if (what >= 3 && what < 5) own.lead = std::max(own.lead + step, 1);
        if (what == 5) own.gap = gap;
        if (what == 6) own.make_room = step > 0;
        if (what == 7) own.hold_back = step > 0;
      }
    }
    consider(settings);
  }
  Found found{{}, cost, plays};
  play(problem, best, &found.words);
  // Most moves are refused before they are timed, so they are many for a small part of the time.
  improve(problem, found, 4 * budget, seed, control);
  return found;
}

}  // namespace planner::zero_bubble
