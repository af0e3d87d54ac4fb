#include "training_search.hpp"

#include <algorithm>
#include <cmath>
#include <tuple>
#include <utility>
#include <vector>

#include "mapping_random.hpp"
#include "training_blocks.hpp"
#include "training_state.hpp"

namespace planner::training {

namespace {

using mapping::Random;

// What a byte below the target costs, in parts of one above it: of equally dear choices the smaller
// one is better, and leads further down.
constexpr double kBelowTarget = 1e-3;

class Annealing {
 public:
  Annealing(const TrainingModel& model, const Choice& start, const SearchOptions& options)
      : model_(model), options_(options), random_(options.seed), state_(model), repetitions_(find_repetitions(model)) {
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
    return static_cast<double>(state_.recompute()) +
           options_.price * (static_cast<double>(above) +
                             kBelowTarget * static_cast<double>(state_.peak()));
  }

  bool better(const SearchResult& best) const {
    const auto above = [&](std::int64_t peak) {
      return std::max<std::int64_t>(0, peak - options_.target);
    };
    return std::make_tuple(above(state_.peak()), state_.recompute(), state_.peak()) <
           std::make_tuple(above(best.peak), best.recompute, best.peak);
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

  void flip_operator_like(std::int32_t f, std::int32_t pattern) {
    const std::vector<char>& saved = state_.choice().saved;
    const std::vector<char>& repeated = state_.choice().repeated;
    if (repeated[index(f)] != repeated[index(pattern)]) operators_.push_back(f);
    const Span mine = model_.writes[f];
    const Span theirs = model_.writes[pattern];
    for (std::int32_t i = 0; i < mine.size(); ++i) {
      const std::int32_t s = mine.begin()[i];
      if (saved[index(s)] != saved[index(theirs.begin()[i])] && open(s)) storages_.push_back(s);
    }
  }

  // Makes one block keep what another one keeps, or exchanges what they keep.
  void propose_block(bool both) {
    const Repetition& blocks = repetitions_[index(
        random_.below(static_cast<std::int32_t>(repetitions_.size())))];
    const std::int32_t one = blocks.first + blocks.period * random_.below(blocks.count);
    const std::int32_t other = blocks.first + blocks.period * random_.below(blocks.count);
    if (one == other) return;
    for (std::int32_t i = 0; i < blocks.period; ++i) {
      flip_operator_like(one + i, other + i);
      if (both) flip_operator_like(other + i, one + i);
    }
  }

  // Saves a storage in one block and drops its like in another.
  void propose_shift() {
    const std::int32_t s = any(model_.storages_to_choose);
    const std::int32_t f = model_.producer[index(s)];
    for (const Repetition& blocks : repetitions_) {
      if (f < blocks.first || f >= blocks.first + blocks.period * blocks.count) continue;
      const std::int32_t like = blocks.first + (f - blocks.first) % blocks.period +
                                blocks.period * random_.below(blocks.count);
      const Span mine = model_.writes[f];
      const auto place = std::find(mine.begin(), mine.end(), s) - mine.begin();
      const std::int32_t other = model_.writes[like].begin()[place];
      if (other != s && open(other) &&
          state_.choice().saved[index(s)] != state_.choice().saved[index(other)]) {
        storages_ = {s, other};
      }
      return;
    }
  }

  void propose() {
    storages_.clear();
    operators_.clear();
    if (!repetitions_.empty()) {
      const double which = random_.uniform();
      if (which < 0.05) propose_block(false);
      else if (which < 0.10) propose_block(true);
      else if (which < 0.25) propose_shift();
      if (!storages_.empty() || !operators_.empty()) return;
    }
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
  std::vector<Repetition> repetitions_;
  std::vector<std::int32_t> storages_, operators_;
};

}  // namespace

SearchResult anneal(const TrainingModel& model, const Choice& start, const SearchOptions& options,
                    Control& control) {
  return Annealing(model, start, options).run(control);
}

}  // namespace planner::training
