#include "pipeline_annealing.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "mapping_random.hpp"
#include "pipeline_walk.hpp"

namespace planner::pipeline {

namespace {

using mapping::Random;

constexpr double kCritical = 0.75;  // moves that start from a pass on a longest path
constexpr double kFarthest = 16.0;  // places a pass moves at most
// With more passes one evaluation is long enough to look at the clock each time.
constexpr std::int32_t kManyPasses = 4096;

class Annealing {
 public:
  Annealing(const PipelineModel& model, const Order& start,
            const std::vector<std::int64_t>& release, const AnnealingOptions& options)
      : model_(model), options_(options), walk_(model, start, release), random_(options.seed) {}

  AnnealingResult run(Control& control);

 private:
  bool propose();
  void trace();
  std::int32_t pick();
  std::int32_t distance();
  bool shift_by(std::int32_t pass, std::int32_t places);
  bool shift_on_neighbours(std::int32_t pass, std::int32_t places);
  bool shift_in_periods(std::int32_t pass, std::int32_t places);
  bool shift_block(std::int32_t pass, std::int32_t places);

  const PipelineModel& model_;
  const AnnealingOptions& options_;
  Walk walk_;
  Random random_;
  bool stale_ = true;  // whether `critical_` is of an order before
  std::vector<std::int32_t> critical_;
};

// Of the order that has its times: not between two shifts of one change.
void Annealing::trace() {
  if (stale_) walk_.trace(random_, critical_);
  stale_ = false;
}

std::int32_t Annealing::pick() {
  if (random_.uniform() >= kCritical)
    return walk_.order()[at(random_.below(model_.passes))];
  trace();
  const auto count = static_cast<std::int32_t>(critical_.size());
  return walk_.order()[at(critical_[at(random_.below(count))])];
}

std::int32_t Annealing::distance() {
  const double u = random_.uniform();
  const auto places = 1 + static_cast<std::int32_t>(kFarthest * u * u);
  return random_.below(2) == 0 ? places : -places;
}

// `places` to the right; to the left if negative.
bool Annealing::shift_by(std::int32_t pass, std::int32_t places) {
  const std::size_t device = at(model_.device_of_letter(model_.letter_of[at(pass)]));
  const std::int32_t from = walk_.position(pass);
  const std::int32_t to =
      std::clamp(from + places, model_.begin[device], model_.begin[device + 1] - 1);
  return walk_.shift(from, to);
}

// The same pass of some stages before or after it as well.
bool Annealing::shift_on_neighbours(std::int32_t pass, std::int32_t places) {
  const std::int32_t stage = model_.letter_of[at(pass)] / 3;
  const std::int32_t direction = random_.below(2) == 0 ? 1 : -1;
  const std::int32_t count = 2 + random_.below(std::max(1, model_.devices - 1));
  const bool mirrored = random_.below(4) == 0;  // the other way after a change of direction
  bool any = false;
  for (std::int32_t i = 0; i < count; ++i) {
    const std::int32_t s = stage + direction * i;
    if (s < 0 || s >= model_.stages) break;
    const std::int32_t other = pass + direction * i * 3 * model_.microbatches;
    const bool turned = mirrored && model_.row[at(s)] != model_.row[at(stage)];
    if (shift_by(other, turned ? -places : places)) any = true;
  }
  return any;
}

// The same pass of some microbatches before or after it as well.
bool Annealing::shift_in_periods(std::int32_t pass, std::int32_t places) {
  const std::int32_t first = model_.letter_of[at(pass)] * model_.microbatches;
  const std::int32_t count =
      2 + (random_.below(2) == 0 ? random_.below(6) : random_.below(model_.microbatches));
  const std::int32_t end = std::min(first + model_.microbatches, pass + count);
  bool any = false;
  if (places < 0) {
    for (std::int32_t other = pass; other < end; ++other)
      if (shift_by(other, places)) any = true;
  } else {
    for (std::int32_t other = end; other-- > pass;)
      if (shift_by(other, places)) any = true;
  }
  return any;
}

// The passes that follow it on its device as well.
bool Annealing::shift_block(std::int32_t pass, std::int32_t places) {
  const std::size_t device = at(model_.device_of_letter(model_.letter_of[at(pass)]));
  const std::int32_t from = walk_.position(pass);
  const std::int32_t length =
      std::min(2 + random_.below(4), model_.begin[device + 1] - from);
  bool any = false;
  for (std::int32_t i = 0; i < length; ++i) {
    const std::int32_t k = places < 0 ? from + i : from + length - 1 - i;
    if (shift_by(walk_.order()[at(k)], places)) any = true;
  }
  return any;
}

bool Annealing::propose() {
  const std::int32_t pass = pick();
  const std::int32_t places = distance();
  const double kind = random_.uniform();
  if (kind < 0.60) return shift_by(pass, places);
  if (kind < 0.75) return shift_on_neighbours(pass, places);
  if (kind < 0.83) return shift_in_periods(pass, places);
  if (kind < 0.90) return shift_block(pass, places);
  trace();
  const bool one = shift_by(pass, places);
  const bool other = shift_by(pick(), distance());
  return one || other;
}

AnnealingResult Annealing::run(Control& control) {
  AnnealingResult result;
  result.order = walk_.order();
  result.cost = walk_.cost();
  double best = walk_.value();
  const double period = static_cast<double>(model_.period);
  const double ratio = options_.coldest / options_.hottest;
  const auto stop = [&] {
    return model_.passes > kManyPasses ? control.stop_now() : control.stop();
  };
  while (result.steps < options_.steps && result.cost > options_.goal && !stop()) {
    const double cooled =
        static_cast<double>(result.steps++) / static_cast<double>(options_.steps);
    const double temperature = period * options_.hottest * std::pow(ratio, cooled);
    if (!propose()) continue;
    ++result.evaluations;
    // Worse by this much is accepted; drawn first, so that the evaluation can stop early.
    const double allowed = -temperature * std::log(1.0 - random_.uniform());
    if (!walk_.evaluate(walk_.value() + allowed)) {
      walk_.undo();
      continue;
    }
    walk_.keep();
    stale_ = true;
    ++result.accepted;
    if (walk_.value() >= best) continue;
    best = walk_.value();
    result.order = walk_.order();
    result.cost = walk_.cost();
  }
  return result;
}

}  // namespace

AnnealingResult anneal(const PipelineModel& model, const Order& start,
                       const std::vector<std::int64_t>& release, const AnnealingOptions& options,
                       Control& control) {
  return Annealing(model, start, release, options).run(control);
}

}  // namespace planner::pipeline
