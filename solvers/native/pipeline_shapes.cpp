#include "pipeline_shapes.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "mapping_random.hpp"
#include "pipeline_list.hpp"

namespace planner::pipeline {

namespace {

using mapping::Random;

constexpr double kFresh = 0.4;
// A schedule this much worse than the worst that is kept is left unfinished.
constexpr double kHopeless = 1.0;
constexpr std::size_t kSlopes = 12;
constexpr std::size_t kPresets = 48;
// Periods after which a W never is the pass with the least target.
constexpr double kNeverDue = 1e4;
constexpr double kLatestTarget = 1e18;

// Along the path of a microbatch targets grow by `forward` times the ticks of each forward pass,
// then by `backward` times those of each backward pass, one slope for each row of chunks; from
// microbatch to microbatch by `pace` times the busiest device's ticks.
struct Shape {
  std::vector<double> forward, backward, weight_delay;
  double pace = 1.0;
  double turn = 0.0;  // at the last stage, in periods
  double wait = 0.5;
  double weight_wait = 0.0;
  bool make_room = false;
  double live_first = 0.0, live_last = 0.0;  // most live copies on the first and last device, or 0
};

struct Elite {
  Scheduled scheduled;
  Shape shape;
};

class ShapeSearch {
 public:
  ShapeSearch(const PipelineModel& model, const ShapeOptions& options)
      : model_(model), options_(options), scheduler_(model), random_(options.seed) {
    for (const std::vector<std::int32_t>& mine : model.stages_of) rows_ = std::max(rows_, mine.size());
  }

  ShapeResult run(Control& control);

 private:
  Shape preset(std::size_t number) const;
  Shape fresh();
  Shape mutated(Shape shape);
  void aim(const Shape& shape);
  void attempt(const Shape& shape);

  const PipelineModel& model_;
  const ShapeOptions& options_;
  ListScheduler scheduler_;
  Random random_;
  std::size_t rows_ = 1;
  Targets targets_;
  std::vector<Elite> elite_;
  ShapeResult result_;
};

Shape ShapeSearch::preset(std::size_t number) const {
  // Slopes of the first and the other rows, forward and backward; the published blocks are among
  // them: V-Min with all slopes 1, V-Half with 2, 1, 1, 2.
  static constexpr std::array<std::array<double, 4>, kSlopes> several{{{1, 1, 1, 1},
                                                                       {2, 1, 1, 2},
                                                                       {3, 1, 1, 3},
                                                                       {1, 1, 1, 2},
                                                                       {2, 1, 1, 1},
                                                                       {2, 2, 1, 2},
                                                                       {1.5, 1, 1, 1.5},
                                                                       {3, 2, 1, 2},
                                                                       {2, 1, 2, 2},
                                                                       {3, 1, 2, 3},
                                                                       {1, 2, 2, 1},
                                                                       {4, 1, 1, 4}}};
  static constexpr std::array<std::array<double, 2>, kSlopes> one{{{1, 2},
                                                                   {2, 1},
                                                                   {2, 2},
                                                                   {1, 1},
                                                                   {2, 3},
                                                                   {3, 2},
                                                                   {1, 3},
                                                                   {3, 1},
                                                                   {1.5, 1.5},
                                                                   {3, 3},
                                                                   {1, 4},
                                                                   {4, 4}}};
  struct Patience {
    double weight_delay, wait, weight_wait;
    bool make_room;
  };
  // A W that is never due fills gaps and makes room.
  static constexpr std::array<Patience, kPresets / kSlopes> patiences{{{kNeverDue, 0.8, 0.5, false},
                                                                       {kNeverDue, 0.8, 1.0, true},
                                                                       {kNeverDue, 0.3, 0.0, true},
                                                                       {0.0, 0.3, 0.0, false}}};
  const std::size_t slope = number % kSlopes;
  const Patience& patience = patiences[number / kSlopes];
  Shape shape;
  for (std::size_t q = 0; q < rows_; ++q) {
    const bool first = q == 0;
    shape.forward.push_back(rows_ == 1 ? one[slope][0] : several[slope][first ? 0 : 1]);
    shape.backward.push_back(rows_ == 1 ? one[slope][1] : several[slope][first ? 2 : 3]);
    shape.weight_delay.push_back(patience.weight_delay);
  }
  shape.wait = patience.wait;
  shape.weight_wait = patience.weight_wait;
  shape.make_room = patience.make_room;
  return shape;
}

Shape ShapeSearch::fresh() {
  Shape shape;
  const bool same = random_.below(3) == 0;
  for (std::size_t q = 0; q < rows_; ++q) {
    const double forward = 0.5 + 4.5 * random_.uniform();
    const double backward = 0.5 + 4.5 * random_.uniform();
    shape.forward.push_back(same && q > 0 ? shape.forward[0] : forward);
    shape.backward.push_back(same && q > 0 ? shape.backward[0] : backward);
    const double late = random_.uniform();
    shape.weight_delay.push_back(late < 0.25 ? 0.0 : late < 0.6 ? kNeverDue : 10.0 * (late - 0.6));
  }
  shape.pace = random_.below(2) == 0 ? 1.0 : 0.95 + 0.2 * random_.uniform();
  shape.turn = random_.below(2) == 0 ? 0.0 : 2.0 * random_.uniform() - 0.5;
  shape.wait = random_.uniform();
  shape.weight_wait = random_.below(2) == 0 ? 0.0 : random_.uniform();
  shape.make_room = random_.below(2) == 0;
  if (random_.below(4) == 0) {
    const double most = 2.0 * static_cast<double>(model_.devices);
    shape.live_first = 1.0 + most * random_.uniform();
    shape.live_last = 1.0 + most * random_.uniform();
  }
  return shape;
}

Shape ShapeSearch::mutated(Shape shape) {
  const double size = random_.below(3) == 0 ? 0.5 : 0.1;
  const auto nudge = [&](double& value, double scale, double low) {
    if (random_.below(3) == 0) value = std::max(low, value + scale * size * random_.normal());
  };
  for (std::size_t q = 0; q < rows_; ++q) {
    nudge(shape.forward[q], 2.0, 0.0);
    nudge(shape.backward[q], 2.0, 0.0);
    if (shape.weight_delay[q] < kNeverDue) nudge(shape.weight_delay[q], 4.0, 0.0);
  }
  nudge(shape.pace, 0.1, 0.8);
  nudge(shape.turn, 1.0, -4.0);
  nudge(shape.wait, 0.5, 0.0);
  nudge(shape.weight_wait, 0.5, 0.0);
  if (random_.below(8) == 0) shape.make_room = !shape.make_room;
  if (shape.live_first > 0.0) {
    nudge(shape.live_first, 2.0, 1.0);
    nudge(shape.live_last, 2.0, 1.0);
    if (random_.below(16) == 0) shape.live_first = 0.0;
  }
  return shape;
}

void ShapeSearch::aim(const Shape& shape) {
  const double period = static_cast<double>(model_.period) * shape.pace;
  targets_.tick.resize(at(model_.passes));
  const auto line = [&](std::int32_t letter, double offset) {
    for (std::int32_t j = 0; j < model_.microbatches; ++j)
      targets_.tick[at(letter * model_.microbatches + j)] =
          static_cast<std::int64_t>(
              std::min(kLatestTarget, offset + period * static_cast<double>(j)));
  };
  const auto ticks = [&](std::int32_t letter) {
    return static_cast<double>(model_.ticks[at(letter)]);
  };
  double offset = 0.0;
  for (std::int32_t s = 0; s < model_.stages; ++s) {
    line(3 * s, offset);
    offset += shape.forward[at(model_.row[at(s)])] *
              (ticks(3 * s) + static_cast<double>(model_.hop[at(s)]));
  }
  offset += shape.turn * period;
  for (std::int32_t s = model_.stages; s-- > 0;) {
    const std::size_t q = at(model_.row[at(s)]);
    line(3 * s + 1, offset);
    line(3 * s + 2, offset + ticks(3 * s + 1) + shape.weight_delay[q] * period);
    const double hop = s > 0 ? static_cast<double>(model_.hop[at(s - 1)]) : 0.0;
    offset += shape.backward[q] * (ticks(3 * s + 1) + hop);
  }
  targets_.wait = shape.wait;
  targets_.weight_wait = shape.weight_wait;
  targets_.make_room = shape.make_room;
  targets_.most_live.clear();
  if (shape.live_first > 0.0) {
    const double last = std::max(1, model_.devices - 1);
    for (std::int32_t d = 0; d < model_.devices; ++d) {
      const double live =
          shape.live_first + (shape.live_last - shape.live_first) * static_cast<double>(d) / last;
      targets_.most_live.push_back(std::max(1, static_cast<std::int32_t>(live)));
    }
  }
}

void ShapeSearch::attempt(const Shape& shape) {
  aim(shape);
  const bool full = elite_.size() == at(options_.keep);
  const std::int64_t most =
      full ? elite_.back().scheduled.cost + static_cast<std::int64_t>(
                                                kHopeless * static_cast<double>(model_.period))
           : kNever;
  ++result_.schedules;
  if (!scheduler_.run(targets_, most)) return;
  const std::int64_t cost = model_.makespan ? scheduler_.makespan() : scheduler_.longest_stage();
  const auto place = std::lower_bound(
      elite_.begin(), elite_.end(), cost,
      [](const Elite& one, std::int64_t other) { return one.scheduled.cost < other; });
  if (place != elite_.end() && place->scheduled.cost == cost) return;
  if (place == elite_.end() && full) return;
  elite_.insert(place, {{cost, scheduler_.order()}, shape});
  if (elite_.size() > at(options_.keep)) elite_.pop_back();
}

ShapeResult ShapeSearch::run(Control& control) {
  const auto done = [&] {
    return result_.schedules >= options_.schedules ||
           (!elite_.empty() && elite_.front().scheduled.cost <= options_.goal) ||
           (result_.schedules > 0 && control.stop_now());
  };
  for (std::size_t number = 0; number < kPresets && !done(); ++number) {
    attempt(preset(number));
    if (elite_.empty()) return std::move(result_);
  }
  while (!done()) {
    if (random_.uniform() < kFresh) {
      attempt(fresh());
    } else {
      // The better half of the elite more often.
      const double rank = random_.uniform() * random_.uniform();
      attempt(mutated(elite_[static_cast<std::size_t>(rank * static_cast<double>(elite_.size()))]
                          .shape));
    }
  }
  for (Elite& one : elite_) result_.best.push_back(std::move(one.scheduled));
  return std::move(result_);
}

}  // namespace

ShapeResult schedule_shapes(const PipelineModel& model, const ShapeOptions& options,
                            Control& control) {
  return ShapeSearch(model, options).run(control);
}

}  // namespace planner::pipeline
