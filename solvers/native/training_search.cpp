#include "training_search.hpp"

#include <algorithm>
#include <cmath>
#include <tuple>

namespace planner::training {

namespace {

// What a byte below the target costs, in parts of one above it: of equally dear choices the smaller
// one is better, and leads further down.
constexpr double kBelowTarget = 1e-3;
constexpr std::int64_t kBins = 2048;

double energy(const WalkOptions& options, std::int64_t peak, std::int64_t recompute) {
  const std::int64_t above = std::max<std::int64_t>(0, peak - options.target);
  return static_cast<double>(recompute) +
         options.price * (static_cast<double>(above) + kBelowTarget * static_cast<double>(peak));
}

}  // namespace

TrainingSearch::TrainingSearch(const TrainingModel& model, std::int64_t greatest_peak)
    : model_(model),
      bin_bytes_(greatest_peak / kBins + 1),
      remembered_(static_cast<std::size_t>(kBins)),
      repetitions_(find_repetitions(model)),
      state_(model) {}

void TrainingSearch::offer(const Choice& choice) {
  state_.assign(choice);
  remember();
}

void TrainingSearch::walk(const WalkOptions& options, Control& control) {
  const Found* start = cheapest(options);
  if (start == nullptr || model_.storages_to_choose.empty()) return;
  state_.assign(start->choice);
  random_ = mapping::Random(options.seed);
  double now = energy_now(options);
  const auto steps = static_cast<double>(options.evaluations);
  for (std::int64_t step = 0; step < options.evaluations && !control.stop(); ++step) {
    const double temperature = options.hottest * std::pow(options.coldest / options.hottest,
                                                          static_cast<double>(step) / steps);
    propose();
    if (storages_.empty() && operators_.empty()) continue;
    flip();
    ++evaluations_;
    remember();
    const double next = energy_now(options);
    if (next <= now || random_.uniform() < std::exp((now - next) / temperature)) {
      now = next;
    } else {
      flip();
    }
  }
}

std::vector<const Found*> TrainingSearch::frontier() const {
  std::vector<const Found*> found;
  for (const std::optional<Found>& one : remembered_) {
    if (one && (found.empty() || one->recompute < found.back()->recompute)) {
      found.push_back(&*one);
    }
  }
  std::reverse(found.begin(), found.end());
  return found;
}

void TrainingSearch::remember() {
  const std::int64_t peak = state_.peak();
  const std::int64_t bin = peak / bin_bytes_;
  if (bin >= kBins) return;
  std::optional<Found>& known = remembered_[static_cast<std::size_t>(bin)];
  const std::int64_t recompute = state_.recompute();
  if (known && std::make_tuple(known->recompute, known->peak) <= std::make_tuple(recompute, peak)) {
    return;
  }
  known = Found{state_.choice(), peak, recompute};
}

const Found* TrainingSearch::cheapest(const WalkOptions& options) const {
  const Found* best = nullptr;
  for (const std::optional<Found>& one : remembered_) {
    if (one && (best == nullptr || energy(options, one->peak, one->recompute) <
                                       energy(options, best->peak, best->recompute))) {
      best = &*one;
    }
  }
  return best;
}

double TrainingSearch::energy_now(const WalkOptions& options) const {
  const double now = energy(options, state_.peak(), state_.recompute());
  if (!options.whole_profile) return now;
  return now + options.price * state_.excess(options.target);
}

void TrainingSearch::flip() {
  for (const std::int32_t s : storages_) state_.flip_saved(s);
  for (const std::int32_t f : operators_) state_.flip_repeated(f);
  state_.update();
}

std::int32_t TrainingSearch::any(const std::vector<std::int32_t>& from) {
  return from[index(random_.below(static_cast<std::int32_t>(from.size())))];
}

bool TrainingSearch::open(std::int32_t s) const {
  return !model_.is_output[index(s)] && model_.recomputable[index(model_.producer[index(s)])];
}

// A storage that an operator near by reads or writes, or -1.
std::int32_t TrainingSearch::neighbour(std::int32_t s) {
  const std::int32_t f = model_.producer[index(s)];
  near_.clear();
  for (const std::int32_t other : model_.reads[f]) near_.push_back(other);
  for (const std::int32_t other : model_.writes[f]) near_.push_back(other);
  for (const std::int32_t r : model_.readers[s]) {
    for (const std::int32_t other : model_.writes[r]) near_.push_back(other);
  }
  const std::int32_t other = any(near_);
  return other != s && open(other) ? other : -1;
}

void TrainingSearch::propose_like(std::int32_t f, std::int32_t pattern) {
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
void TrainingSearch::propose_block(bool both) {
  const Repetition& blocks = repetitions_[index(
      random_.below(static_cast<std::int32_t>(repetitions_.size())))];
  const std::int32_t one = blocks.first + blocks.period * random_.below(blocks.count);
  const std::int32_t other = blocks.first + blocks.period * random_.below(blocks.count);
  if (one == other) return;
  for (std::int32_t i = 0; i < blocks.period; ++i) {
    propose_like(one + i, other + i);
    if (both) propose_like(other + i, one + i);
  }
}

// Saves a storage in one block and drops its like in another.
void TrainingSearch::propose_shift() {
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

void TrainingSearch::propose() {
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

}  // namespace planner::training
