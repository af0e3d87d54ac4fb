#include "mapping_decoder.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <queue>

namespace planner::mapping {

namespace {

constexpr double kNever = -std::numeric_limits<double>::infinity();
// Rows before an access in which its copy is expected to run, for the feature of room.
constexpr std::int32_t kRowsLookedBack = 24;

struct Candidate {
  double key;
  std::int32_t buffer;
  std::int32_t use;
  std::int64_t version;

  bool operator<(const Candidate& other) const {
    if (key != other.key) return key < other.key;
    if (buffer != other.buffer) return buffer > other.buffer;
    return use > other.use;
  }
};

double log_span(const MappingModel& model, std::int32_t buffer, std::int32_t use) {
  const std::int32_t last = model.buffers[buffer].uses - 1;
  return std::log(1.0 + model.access(buffer, last).row - model.access(buffer, use).row);
}

class Keys {
 public:
  Keys(const MappingState& state, const Weights& weights, const std::vector<double>& residual)
      : state_(state), weights_(weights), residual_(residual) {
    for (int k = 2; k < kFeatures; ++k) dynamic_ = dynamic_ || weights[k] != 0.0;
  }

  // -infinity where there is nothing to gain.
  double operator()(std::int32_t buffer, std::int32_t use) const {
    const Ticks gain = gain_from(state_, buffer, use);
    if (gain <= 0) return kNever;
    const MappingModel& model = state_.model();
    const double log_size = std::log(static_cast<double>(model.buffers[buffer].size));
    double key = std::log(static_cast<double>(gain)) - 0.5 * log_size;
    if (!residual_.empty()) key += residual_[model.access_index(buffer, use)];
    if (!dynamic_) {
      key += weights_[0] * log_size;
      if (weights_[1] != 0.0) key += weights_[1] * log_span(model, buffer, use);
      return key;
    }
    std::array<double, kFeatures> values;
    features(state_, buffer, use, gain, values);
    for (int k = 0; k < kFeatures; ++k) key += weights_[k] * values[k];
    return key;
  }

 private:
  const MappingState& state_;
  const Weights& weights_;
  const std::vector<double>& residual_;
  bool dynamic_ = false;
};

}  // namespace

Ticks gain_from(const MappingState& state, std::int32_t buffer, std::int32_t use) {
  const MappingModel& model = state.model();
  Ticks total = 0;
  for (std::int32_t later = use; later < model.buffers[buffer].uses; ++later) {
    const std::int32_t index = model.access_index(buffer, later);
    if (state.is_served(index)) break;
    total += state.gain(index);
  }
  return total;
}

std::vector<double> static_keys(const MappingState& state, const StaticKey& key) {
  const MappingModel& model = state.model();
  std::vector<double> keys(model.buffers.size(), kNever);
  for (std::size_t b = 0; b < keys.size(); ++b) {
    const auto buffer = static_cast<std::int32_t>(b);
    const Ticks gain = gain_from(state, buffer, 0);
    if (gain <= 0) continue;
    keys[b] = std::log(static_cast<double>(gain)) -
              key.size * std::log(static_cast<double>(model.buffers[b].size)) -
              key.span * log_span(model, buffer, 0);
  }
  return keys;
}

void decode_buffers(MappingState& state, const std::vector<double>& keys, const Reach& reach,
                    Control& control) {
  const MappingModel& model = state.model();
  std::vector<std::int32_t> order;
  for (std::size_t b = 0; b < keys.size(); ++b) {
    if (keys[b] != kNever) order.push_back(static_cast<std::int32_t>(b));
  }
  std::stable_sort(order.begin(), order.end(),
                   [&](std::int32_t a, std::int32_t b) { return keys[a] > keys[b]; });
  Reach whole = reach;
  whole.most_gain = false;
  for (const std::int32_t buffer : order) {
    if (control.stop_now()) return;
    std::int32_t use = 0;
    while (use < model.buffers[buffer].uses) {
      const std::int32_t id = state.place(buffer, use, whole);
      use = id < 0 ? use + 1 : state.stay(id).last + 1;
    }
  }
}

void features(const MappingState& state, std::int32_t buffer, std::int32_t use, Ticks gain,
              std::array<double, kFeatures>& values) {
  const MappingModel& model = state.model();
  const Buffer& described = model.buffers[buffer];
  const std::int32_t index = model.access_index(buffer, use);
  const Access& access = model.accesses[index];
  const RowCost& cost = model.rows[access.row];
  const bool produced = use == 0 && access.writes;
  const auto total = static_cast<double>(gain);
  const auto first = static_cast<double>(state.gain(index));
  std::int64_t free = model.capacity;
  for (std::int32_t later = use; later < described.uses; ++later) {
    free = std::min(free, state.free_bytes(model.access(buffer, later).row));
  }
  double room = 0.0;
  if (!produced) {
    const std::int32_t from = std::max(0, access.row - kRowsLookedBack);
    for (std::int32_t row = from; row < access.row; ++row) {
      room += static_cast<double>(std::max<Ticks>(0, state.room(row)));
    }
  }
  const bool again = use + 1 < described.uses;
  const auto copy = static_cast<double>(described.copy_in);
  const auto excess = static_cast<double>(state.row_time(access.row) - cost.overhead -
                                          std::min(cost.arithmetic, state.row_time(access.row)));
  const auto mean =
      static_cast<double>(state.latency()) / static_cast<double>(model.rows.size());
  values = {std::log(static_cast<double>(described.size)),
            log_span(model, buffer, use),
            std::log(static_cast<double>(described.uses - use)),
            produced ? 1.0 : 0.0,
            static_cast<double>(free) / static_cast<double>(model.capacity),
            produced ? 0.0 : std::log(room / copy + 0.05),
            first / total,
            std::log(total / (mean + 1.0) + 0.02),
            excess > 0 ? first / excess : 1.0,
            again ? std::log(1.0 + model.access(buffer, use + 1).row - access.row) : 0.0,
            described.has_copy ? 1.0 : 0.0,
            static_cast<double>(access.row) / static_cast<double>(model.rows.size()),
            produced ? 0.0 : std::log(copy / total + 0.05),
            access.writes && again ? 1.0 : 0.0};
}

namespace {

// Places candidates in decreasing order of their keys, which are renewed when their turn comes.
// With `follow` the next residency of a buffer becomes a candidate after the one before; what is
// refused goes to `refused`.
class Queue {
 public:
  Queue(MappingState& state, const Keys& key) : state_(state), key_(key) {}

  void offer(std::int32_t buffer, std::int32_t use) {
    const MappingModel& model = state_.model();
    if (use >= model.buffers[buffer].uses || state_.is_served(model.access_index(buffer, use))) {
      return;
    }
    const double value = key_(buffer, use);
    if (value != kNever) candidates_.push({value, buffer, use, version_});
  }

  void drain(const Reach& reach, Control& control, std::vector<std::int32_t>* refused) {
    const MappingModel& model = state_.model();
    while (!candidates_.empty() && !control.stop_now()) {
      Candidate next = candidates_.top();
      candidates_.pop();
      if (next.version != version_) {
        if (state_.is_served(model.access_index(next.buffer, next.use))) continue;
        next.key = key_(next.buffer, next.use);
        next.version = version_;
        if (next.key == kNever) continue;
        if (!candidates_.empty() && next < candidates_.top()) {
          candidates_.push(next);
          continue;
        }
      }
      const std::int32_t id = state_.place(next.buffer, next.use, reach);
      if (id >= 0) ++version_;
      if (refused == nullptr) continue;
      if (id < 0) refused->push_back(model.access_index(next.buffer, next.use));
      offer(next.buffer, id < 0 ? next.use + 1 : state_.stay(id).last + 1);
    }
  }

 private:
  MappingState& state_;
  const Keys& key_;
  std::priority_queue<Candidate> candidates_;
  std::int64_t version_ = 0;
};

}  // namespace

void decode_marginal(MappingState& state, const Weights& weights,
                     const std::vector<double>& residual, const Reach& reach, Control& control) {
  const Keys key(state, weights, residual);
  Queue queue(state, key);
  const std::size_t buffers = state.model().buffers.size();
  for (std::size_t b = 0; b < buffers; ++b) queue.offer(static_cast<std::int32_t>(b), 0);
  std::vector<std::int32_t> refused;
  queue.drain(reach, control, &refused);
  // What was placed since may have made room for copies.
  decode_uses(state, refused, weights, residual, reach, control);
}

void decode_uses(MappingState& state, const std::vector<std::int32_t>& accesses,
                 const Weights& weights, const std::vector<double>& residual, const Reach& reach,
                 Control& control) {
  const Keys key(state, weights, residual);
  Queue queue(state, key);
  for (const std::int32_t index : accesses) {
    queue.offer(state.model().accesses[index].buffer, state.model().accesses[index].use);
  }
  queue.drain(reach, control, nullptr);
}

}  // namespace planner::mapping
