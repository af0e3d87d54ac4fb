#include "mapping_any_order_game.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "mapping_game_program.hpp"

namespace planner::mapping {

namespace {

constexpr double kNever = -std::numeric_limits<double>::infinity();
constexpr double kLargest = 8.0;

float bounded(double value) {
  return static_cast<float>(std::clamp(value, -kLargest, kLargest));
}

}  // namespace

AnyOrderGame::AnyOrderGame(const MappingModel& model, const Reach& reach)
    : state_(model, true),
      reach_(reach),
      all_slow_(state_.latency()),
      all_fast_(GameProgram(model).all_fast),
      use_(model.buffers.size(), 0),
      key_(model.buffers.size(), kNever) {
  for (std::size_t b = 0; b < use_.size(); ++b) settle(static_cast<std::int32_t>(b));
  offer();
}

// Goes on to the next access from which on there is something to gain, and keys it.
void AnyOrderGame::settle(std::int32_t buffer) {
  const Buffer& described = state_.model().buffers[buffer];
  key_[buffer] = kNever;
  for (std::int32_t& use = use_[buffer]; use < described.uses; ++use) {
    if (state_.is_served(state_.model().access_index(buffer, use))) continue;
    const Ticks gain = gain_from(state_, buffer, use);
    if (gain <= 0) continue;
    key_[buffer] = std::log(static_cast<double>(gain)) -
                   0.5 * std::log(static_cast<double>(described.size));
    return;
  }
}

// Gains have changed in the rows whose accesses the residency serves.
void AnyOrderGame::settle_neighbours(std::int32_t id) {
  const MappingModel& model = state_.model();
  const Stay& stay = state_.stay(id);
  for (std::int32_t use = stay.first; use <= stay.last; ++use) {
    const std::int32_t row = model.access(stay.buffer, use).row;
    for (std::int32_t i = model.row_begin[row]; i < model.row_begin[row + 1]; ++i) {
      settle(model.accesses[i].buffer);
    }
  }
}

void AnyOrderGame::offer() {
  offered_.clear();
  const auto before = [](const Candidate& a, const Candidate& b) {
    return a.key != b.key ? a.key > b.key : a.buffer < b.buffer;
  };
  for (std::size_t b = 0; b < key_.size(); ++b) {
    const Candidate candidate{key_[b], static_cast<std::int32_t>(b)};
    if (candidate.key == kNever) continue;
    if (offered_.size() == kOffered) {
      if (!before(candidate, offered_.back())) continue;
      offered_.pop_back();
    }
    offered_.insert(std::upper_bound(offered_.begin(), offered_.end(), candidate, before),
                    candidate);
  }
  if (offered_.empty()) stopped_ = true;
}

std::uint32_t AnyOrderGame::legal() const {
  return stopped_ ? 0U : ((1U << offered_.size()) - 1U) | (1U << kStop);
}

Ticks AnyOrderGame::play(std::int32_t action) {
  if (action == kStop) {
    stopped_ = true;
    return 0;
  }
  const Ticks before = state_.latency();
  const std::int32_t buffer = offered_[action].buffer;
  const std::int32_t id = state_.place(buffer, use_[buffer], reach_);
  if (id < 0) {
    ++use_[buffer];
  } else {
    state_.keep();
    use_[buffer] = state_.stay(id).last + 1;
    settle_neighbours(id);
  }
  settle(buffer);
  offer();
  return before - state_.latency();
}

void AnyOrderGame::observe(float* values) const {
  std::fill(values, values + kObserved, 0.0F);
  for (std::size_t k = 0; k < offered_.size(); ++k) {
    const Candidate& candidate = offered_[k];
    std::array<double, kFeatures> shown;
    features(state_, candidate.buffer, use_[candidate.buffer], gain_from(state_, candidate.buffer, use_[candidate.buffer]), shown);
    float* to = values + k * kShown;
    *to++ = 1.0F;
    *to++ = bounded(candidate.key / 4.0);
    for (const double value : shown) *to++ = bounded(value / 4.0);
  }
  float* to = values + kOffered * kShown;
  const auto range = static_cast<double>(std::max<Ticks>(1, all_slow_ - all_fast_));
  const auto left = std::count_if(key_.begin(), key_.end(), [](double k) { return k != kNever; });
  *to++ = bounded(static_cast<double>(all_slow_ - state_.latency()) / range);
  *to++ = bounded(static_cast<double>(left) /
                static_cast<double>(std::max<std::size_t>(1, key_.size())));
  *to = bounded(std::log1p(static_cast<double>(state_.model().rows.size())) / 4.0);
}

}  // namespace planner::mapping
