#include "mapping_search.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <memory>
#include <utility>

#include "mapping_refine.hpp"

namespace planner::mapping {

namespace {

constexpr double kFresh = 0.5;        // share of new weights that do not come from the best ones
constexpr double kFreshDeviation = 0.25;
constexpr double kChanged = 0.4;      // share of the weights that change
constexpr double kChangeDeviation = 0.15;

constexpr std::array<double, 3> kKeysChanged = {0.02, 0.1, 0.3};
constexpr double kKeyDeviation = 0.7;

// A decode and what led to it.
struct Attempt {
  Start start;
  std::unique_ptr<MappingState> state;
};

Start varied(const Start& best, Random& random) {
  Start other = best;
  const bool fresh = random.uniform() < kFresh;
  for (double& weight : other.weights) {
    if (fresh) {
      weight = kFreshDeviation * random.normal();
    } else if (random.uniform() < kChanged) {
      weight += kChangeDeviation * random.normal();
    }
  }
  return other;
}

}  // namespace

MappingResult search(const MappingModel& model, const SearchSettings& settings, Random& random,
                     Control& control) {
  std::int64_t attempts = 0;
  const auto decode = [&](const Start& start) {
    auto state = std::make_unique<MappingState>(model, settings.addresses);
    decode_marginal(*state, start.weights, {}, {start.window, settings.fifo, true}, control);
    attempts += state->attempts();
    return state;
  };
  Attempt best;
  for (const Start& start : settings.starts) {
    if (best.state && control.stop_now()) break;
    auto state = decode(start);
    if (!best.state || state->latency() < best.state->latency()) best = {start, std::move(state)};
  }
  for (std::int32_t step = 0; step < settings.evolution && !control.stop_now(); ++step) {
    const Start start = varied(best.start, random);
    auto state = decode(start);
    if (state->latency() <= best.state->latency()) best = {start, std::move(state)};
  }
  const std::int64_t before = best.state->attempts();
  MappingResult result =
      refine(*best.state, {best.start.weights, settings.attempts - attempts},
             {best.start.window, settings.fifo, true}, random, control);
  result.attempts += attempts - before;
  return result;
}

MappingResult evolve_keys(const MappingModel& model, std::int32_t decodes, const Reach& reach,
                          Random& random, Control& control) {
  std::int64_t attempts = 0;
  const auto decode = [&](const std::vector<double>& keys) {
    MappingState state(model, true);
    decode_buffers(state, keys, reach, control);
    attempts += state.attempts();
    return result_of(state);
  };
  const MappingState nothing(model, false);
  std::vector<double> keys;
  MappingResult best;
  for (std::int32_t k = 0; k < kStaticKeys; ++k) {
    const auto candidate = static_keys(nothing, kStaticKey[k]);
    MappingResult result = decode(candidate);
    if (k == 0 || result.latency < best.latency) {
      best = std::move(result);
      keys = candidate;
    }
  }
  const auto buffers = static_cast<std::int32_t>(keys.size());
  for (std::int32_t step = kStaticKeys; step < decodes && !control.stop_now(); ++step) {
    std::vector<double> candidate = keys;
    const double share = kKeysChanged[random.below(static_cast<std::int32_t>(kKeysChanged.size()))];
    const auto changes = std::max<std::int32_t>(1, static_cast<std::int32_t>(share * buffers));
    for (std::int32_t change = 0; change < changes && buffers > 0; ++change) {
      candidate[random.below(buffers)] += kKeyDeviation * random.normal();
    }
    MappingResult result = decode(candidate);
    if (result.latency <= best.latency) {
      best = std::move(result);
      keys = std::move(candidate);
    }
  }
  best.attempts = attempts;
  return best;
}

}  // namespace planner::mapping
