#include "training_blocks.hpp"

#include <algorithm>

namespace planner::training {

namespace {

constexpr std::int32_t kFewestCopies = 2;
constexpr std::int32_t kShortestPeriod = 2;

std::vector<std::int64_t> look_of(const TrainingModel& model, std::int32_t f) {
  std::vector<std::int64_t> look{model.duration[index(f)], model.workspace[index(f)],
                                 model.recomputable[index(f)], model.reads[f].size()};
  for (const std::int32_t s : model.writes[f]) look.push_back(model.size[index(s)]);
  return look;
}

void search(const std::vector<std::int32_t>& look, std::int32_t begin, std::int32_t end,
            std::vector<Repetition>& found) {
  Repetition best;
  std::int32_t most = 0;
  for (std::int32_t period = kShortestPeriod; period * kFewestCopies <= end - begin; ++period) {
    std::int32_t run = 0;
    for (std::int32_t i = begin; i + period < end; ++i) {
      run = look[index(i)] == look[index(i + period)] ? run + 1 : 0;
      const std::int32_t count = run / period + 1;
      if (count >= kFewestCopies && count * period > most) {
        most = count * period;
        best = {i + 1 - run, period, count};
      }
    }
  }
  if (most == 0) return;
  search(look, begin, best.first, found);
  found.push_back(best);
  search(look, best.first + most, end, found);
}

}  // namespace

std::vector<Repetition> find_repetitions(const TrainingModel& model) {
  std::vector<std::vector<std::int64_t>> looks;
  for (std::int32_t f = 0; f < model.operators; ++f) looks.push_back(look_of(model, f));
  std::vector<std::vector<std::int64_t>> kinds = looks;
  std::sort(kinds.begin(), kinds.end());
  kinds.erase(std::unique(kinds.begin(), kinds.end()), kinds.end());
  std::vector<std::int32_t> numbers;
  for (const auto& look : looks) {
    numbers.push_back(static_cast<std::int32_t>(
        std::lower_bound(kinds.begin(), kinds.end(), look) - kinds.begin()));
  }
  std::vector<Repetition> found;
  search(numbers, 0, model.operators, found);
  return found;
}

}  // namespace planner::training
