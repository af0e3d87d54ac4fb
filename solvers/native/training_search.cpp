#include "training_search.hpp"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "mapping_random.hpp"
#include "training_state.hpp"

namespace planner::training {

namespace {

using mapping::Random;

class Annealing {
 public:
  Annealing(const TrainingModel& model, const Choice& start, const SearchOptions& options)
      : model_(model), options_(options), random_(options.seed), state_(model) {
    state_.assign(start);
  }

  SearchResult run(Control& control) {
    SearchResult best{state_.choice(), state_.peak(), state_.recompute(), 0};
    if (model_.storages_to_choose.empty()) return best;
    double energy = energy_now();
    for (std::int64_t step = 0; step < options_.evaluations && !control.stop(); ++step) {
      const double progress = static_cast<double>(step) / static_cast<double>(options_.evaluations);
      const double temperature =
          options_.hottest * std::pow(options_.coldest / options_.hottest, progress);
      propose();
      if (storages_.empty() && operators_.empty()) continue;
      flip();
      const double next = energy_now();
      ++best.evaluations;
      if (better(best)) {
        best.choice = state_.choice();
        best.peak = state_.peak();
        best.recompute = state_.recompute();
      }
      if (next <= energy || random_.uniform() < std::exp((energy - next) / temperature)) {
        energy = next;
      } else {
        flip();
      }
    }
    return best;
  }

 private:
  double energy_now() const {
    const std::int64_t above = std::max<std::int64_t>(0, state_.peak() - options_.target);
    return static_cast<double>(state_.recompute()) + options_.price * static_cast<double>(above);
  }

  bool better(const SearchResult& best) const {
    const auto above = [&](std::int64_t peak) {
      return std::max<std::int64_t>(0, peak - options_.target);
    };
    return std::make_pair(above(state_.peak()), state_.recompute()) <
           std::make_pair(above(best.peak), best.recompute);
  }

  void flip() {
    for (const std::int32_t s : storages_) state_.flip_saved(s);
    for (const std::int32_t f : operators_) state_.flip_repeated(f);
    state_.update();
  }

  std::int32_t any(const std::vector<std::int32_t>& from) {
    return from[index(random_.below(static_cast<std::int32_t>(from.size())))];
  }

  bool open(std::int32_t s) const {
    return !model_.is_output[index(s)] && model_.recomputable[index(model_.producer[index(s)])];
  }

  // A storage that an operator near by reads or writes, or -1.
  std::int32_t neighbour(std::int32_t s) {
    std::vector<std::int32_t> near;
    const std::int32_t f = model_.producer[index(s)];
    for (const std::int32_t other : model_.reads[f]) near.push_back(other);
    for (const std::int32_t other : model_.writes[f]) near.push_back(other);
    for (const std::int32_t r : model_.readers[s]) {
      for (const std::int32_t other : model_.writes[r]) near.push_back(other);
    }
    const std::int32_t other = any(near);
    return other != s && open(other) ? other : -1;
  }

  void propose() {
    storages_.clear();
    operators_.clear();
    const double which = random_.uniform();
    if (which < 0.1) {
      operators_.push_back(any(model_.operators_to_choose));
      return;
    }
    const std::int32_t first = any(model_.storages_to_choose);
    storages_.push_back(first);
    if (which < 0.5) return;
    std::int32_t second = which < 0.8 ? neighbour(first) : any(model_.storages_to_choose);
    if (second < 0 || second == first) return;
    if (which < 0.9 || state_.choice().saved[index(first)] != state_.choice().saved[index(second)])
      storages_.push_back(second);
  }

  const TrainingModel& model_;
  const SearchOptions& options_;
  Random random_;
  TrainingState state_;
  std::vector<std::int32_t> storages_, operators_;
};

}  // namespace

SearchResult anneal(const TrainingModel& model, const Choice& start, const SearchOptions& options,
                    Control& control) {
  return Annealing(model, start, options).run(control);
}

}  // namespace planner::training
