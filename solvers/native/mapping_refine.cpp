#include "mapping_refine.hpp"

#include <algorithm>
#include <array>
#include <cmath>

namespace planner::mapping {

namespace {

// First temperature, as a share of the latency; it falls in proportion to the attempts left.
constexpr double kFirstTemperature = 5e-4;
constexpr std::array<double, 3> kNoise = {0.0, 0.3, 1.0};
// Rows after the last that lost bytes or copies in which other accesses are tried.
constexpr std::int32_t kRowsBeyond = 8;
constexpr double kFirst = 1e3;

class Refinement {
 public:
  Refinement(MappingState& state, const RefineSettings& settings, const Reach& reach,
             Random& random)
      : state_(state),
        model_(state.model()),
        settings_(settings),
        reach_(reach),
        random_(random),
        residual_(model_.accesses.size(), 0.0),
        excess_(model_.rows.size(), 0.0) {}

  MappingResult run(Control& control) {
    state_.keep();
    MappingResult best = result_of(state_);
    if (model_.accesses.empty()) return best;
    const std::int64_t begun = state_.attempts();
    while (state_.attempts() - begun < settings_.attempts && !control.stop_now()) {
      const double used = static_cast<double>(state_.attempts() - begun) /
                          static_cast<double>(settings_.attempts);
      const Ticks before = state_.latency();
      const std::int64_t attempts = state_.attempts();
      if (!ruin()) break;
      recreate(control);
      if (state_.attempts() == attempts) ++idle_;
      const double temperature =
          kFirstTemperature * (1.0 - used) * static_cast<double>(best.latency);
      const double worse = static_cast<double>(state_.latency() - before);
      if (worse <= 0 || random_.uniform() < std::exp(-worse / (temperature + 1e-9))) {
        state_.keep();
      } else {
        state_.undo();
      }
      if (state_.latency() < best.latency) best = result_of(state_);
      if (idle_ > kIdleLimit) break;
    }
    best.attempts = state_.attempts();
    return best;
  }

 private:
  static constexpr std::int64_t kIdleLimit = 1000;

  // A row, by how much time more than at best it takes.
  std::int32_t slow_row() {
    double total = 0.0;
    for (std::size_t t = 0; t < excess_.size(); ++t) {
      const auto row = static_cast<std::int32_t>(t);
      Ticks most = 0;
      for (std::int32_t i = model_.row_begin[t]; i < model_.row_begin[t + 1]; ++i) {
        if (!state_.is_served(i)) most += std::max<Ticks>(0, model_.accesses[i].slow - model_.accesses[i].fast);
      }
      const RowCost& cost = model_.rows[t];
      const Ticks above = state_.row_time(row) - cost.overhead - cost.arithmetic;
      total += static_cast<double>(std::min(most, std::max<Ticks>(0, above)));
      excess_[t] = total;
    }
    if (total <= 0.0) return -1;
    const double drawn = random_.uniform() * total;
    const auto at = std::upper_bound(excess_.begin(), excess_.end(), drawn);
    return static_cast<std::int32_t>(std::min<std::ptrdiff_t>(
        at - excess_.begin(), static_cast<std::ptrdiff_t>(excess_.size()) - 1));
  }

  // Removes something; false where nothing is left to gain.
  bool ruin() {
    const std::int32_t row = slow_row();
    if (row < 0) return false;
    wanted_ = -1;
    ids_.clear();
    low_ = row;
    high_ = row + 1;
    const double kind = random_.uniform();
    if (kind < 0.5) {
      want(row);
    } else {
      const std::int32_t reach = random_.below(3);
      const double share = 0.2 + 0.6 * random_.uniform();
      state_.holding(std::max(0, row - reach),
                     std::min(row + reach + 1, static_cast<std::int32_t>(model_.rows.size())),
                     ids_);
      remove_some(share);
    }
    state_.settle();
    for (const std::int32_t id : state_.removed()) {
      low_ = std::min(low_, state_.stay(id).start);
      high_ = std::max(high_, state_.stay(id).end);
    }
    return true;
  }

  void remove_some(double share) {
    for (const std::int32_t id : ids_) {
      if (random_.uniform() < share) state_.remove(id);
    }
  }

  // Chooses an access of the row that is served slow, and makes way for it: bytes in its row and
  // the ones after it up to the next access, room in the rows before it.
  void want(std::int32_t row) {
    std::int32_t chosen = -1;
    int seen = 0;
    for (std::int32_t i = model_.row_begin[row]; i < model_.row_begin[row + 1]; ++i) {
      if (!state_.is_served(i) && state_.gain(i) > 0 && random_.below(++seen) == 0) chosen = i;
    }
    if (chosen < 0) return;
    wanted_ = chosen;
    const Access& access = model_.accesses[chosen];
    const Buffer& buffer = model_.buffers[access.buffer];
    const bool produced = access.use == 0 && access.writes;
    std::int32_t until = row + 1;
    if (access.use + 1 < buffer.uses && (produced || random_.uniform() < 0.5)) {
      until = model_.access(access.buffer, access.use + 1).row + 1;
    }
    std::int32_t from = row;
    if (!produced) from = std::max(0, row - 1 - random_.below(4));
    make_way(from, until, buffer.size);
    if (!produced) free_room(from, row, buffer.copy_in);
  }

  void make_way(std::int32_t start, std::int32_t end, std::int64_t size) {
    state_.holding(start, end, ids_);
    shuffle(ids_);
    for (const std::int32_t id : ids_) {
      bool enough = true;
      for (std::int32_t row = start; row < end && enough; ++row) {
        enough = state_.free_bytes(row) >= size;
      }
      if (enough && random_.uniform() < 0.7) return;
      state_.remove(id);
    }
  }

  // Takes copies out of the rows until there is room for one more.
  void free_room(std::int32_t start, std::int32_t end, Ticks needed) {
    Ticks found = 0;
    for (std::int32_t row = end - 1; row >= start; --row) found += std::max<Ticks>(0, state_.room(row));
    for (std::int32_t row = end - 1; row >= start && found < needed; --row) {
      const auto& copies = state_.copying(row);
      if (copies.empty()) continue;
      const std::int32_t id = copies[random_.below(static_cast<std::int32_t>(copies.size()))];
      const Ticks before = state_.room(row);
      state_.remove(id);
      found += std::max<Ticks>(0, state_.room(row) - before);
    }
  }

  void shuffle(std::vector<std::int32_t>& ids) {
    for (std::size_t k = ids.size(); k > 1; --k) {
      std::swap(ids[k - 1], ids[random_.below(static_cast<std::int32_t>(k))]);
    }
  }

  void recreate(Control& control) {
    const auto rows = static_cast<std::int32_t>(model_.rows.size());
    const double noise = kNoise[random_.below(static_cast<std::int32_t>(kNoise.size()))];
    candidates_.clear();
    const std::int32_t end = std::min(rows, high_ + kRowsBeyond);
    for (std::int32_t i = model_.row_begin[low_]; i < model_.row_begin[end]; ++i) {
      const Access& access = model_.accesses[i];
      if (state_.is_served(i) || state_.gain(i) <= 0 ||
          state_.free_bytes(access.row) < model_.buffers[access.buffer].size) {
        continue;
      }
      candidates_.push_back(i);
      residual_[i] = noise > 0 ? noise * random_.normal() : 0.0;
    }
    if (wanted_ >= 0) residual_[wanted_] += kFirst;
    Weights weights = settings_.weights;
    if (random_.uniform() < 0.5) weights[0] += 0.3 * random_.normal();
    decode_uses(state_, candidates_, weights, residual_, reach_, control);
  }

  MappingState& state_;
  const MappingModel& model_;
  const RefineSettings& settings_;
  const Reach& reach_;
  Random& random_;
  std::vector<double> residual_;  // of the candidates; others are not looked at
  std::vector<double> excess_;
  std::vector<std::int32_t> ids_;
  std::vector<std::int32_t> candidates_;
  std::int32_t wanted_ = -1;
  std::int32_t low_ = 0;
  std::int32_t high_ = 0;
  std::int64_t idle_ = 0;
};

}  // namespace

MappingResult refine(MappingState& state, const RefineSettings& settings, const Reach& reach,
                     Random& random, Control& control) {
  return Refinement(state, settings, reach, random).run(control);
}

}  // namespace planner::mapping
