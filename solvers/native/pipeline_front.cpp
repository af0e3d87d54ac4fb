#include "pipeline_front.hpp"

#include <cstddef>

namespace planner::pipeline_suffix {

Ready Fronts::ready(const Front& front) const {
  Ready found{};
  // Room depends on B, B of the last device on F: twice is enough for what it gains.
  for (std::int32_t round = 0; round < 2; ++round) {
    for (std::int32_t d = 0; d < devices_; ++d) {
      Ticks& start = found.forward[d];
      if (front.forward[d] == microbatches_) {
        start = kNever;
        continue;
      }
      if (forward_known(front, d)) {
        start = forward_start(front, d);
      } else {
        const Ticks there = found.forward[d - 1] + stages_[d - 1].forward;
        start = std::max(front.free[d], there + stages_[d - 1].hop);
      }
      if (round > 0) start = with_room(front, d, start, found.backward[d]);
    }
    for (std::int32_t d = devices_; d-- > 0;) {
      Ticks& start = found.backward[d];
      if (front.backward[d] == microbatches_) {
        start = kNever;
      } else if (backward_known(front, d)) {
        start = backward_start(front, d);
      } else if (d + 1 == devices_) {
        start = found.forward[d] + stages_[d].forward;
      } else {
        const Ticks there = found.backward[d + 1] + stages_[d + 1].backward;
        start = std::max(front.free[d], there + stages_[d].hop);
      }
    }
  }
  return found;
}

void Fronts::tighten(Front& front, const Ready& at) const {
  for (std::int32_t d = 0; d < devices_; ++d) {
    if (irrelevant(front, d)) {
      front.backward[d] = front.weight[d] = microbatches_;
      front.free[d] = 0;
      front.backward_arrivals[d].clear();
      continue;
    }
    if (front.weight[d] == front.backward[d] && front.backward[d] < microbatches_)
      front.free[d] = std::max(front.free[d], std::min(at.forward[d], at.backward[d]));
    Ticks least = front.free[d];
    for (Ticks& arrival : front.forward_arrivals[d]) {
      arrival = std::max(arrival, least);
      least = arrival + stages_[d].forward;
    }
    least = front.free[d];
    for (Ticks& arrival : front.backward_arrivals[d]) {
      arrival = std::max(arrival, least);
      least = arrival + stages_[d].backward;
    }
  }
}

Ticks Fronts::bound(const Front& front, const Ready& at) const {
  Ticks most = 0;
  for (std::int32_t d = 0; d < devices_; ++d) {
    if (irrelevant(front, d)) continue;
    const Stage& stage = stages_[d];
    const std::int32_t forward = microbatches_ - front.forward[d];
    const std::int32_t backward = microbatches_ - front.backward[d];
    if (forward > 0) most = std::max(most, at.forward[d] + tails_.forward[d][forward]);
    if (backward > 0) most = std::max(most, at.backward[d] + tails_.backward[d][backward]);
    const Ticks passes = forward * stage.forward + backward * stage.backward;
    const Ticks weights = (microbatches_ - front.weight[d]) * stage.weight;
    const End& end = ends_[d];
    if (end.share > 0) {
      const Ticks sum = front.free[d] + passes + weights + end.more;
      most = std::max(most, (sum + end.share - 1) / end.share);
    }
    if (d > home_ && backward > 0) {
      Ticks back = stages_[home_].weight;
      for (std::int32_t e = home_; e < d; ++e) back += stages_[e].hop + stages_[e].backward;
      most = std::max(most, front.free[d] + passes + back);
    }
  }
  return most;
}

Front Fronts::after_forward(const Front& front, std::int32_t d) const {
  Front next = front;
  next.free[d] = forward_start(front, d) + stages_[d].forward;
  ++next.forward[d];
  if (d > 0) next.forward_arrivals[d].erase(next.forward_arrivals[d].begin());
  if (d + 1 < devices_) next.forward_arrivals[d + 1].push_back(next.free[d] + stages_[d].hop);
  return next;
}

Front Fronts::after_backward(const Front& front, std::int32_t d) const {
  Front next = front;
  next.free[d] = backward_start(front, d) + stages_[d].backward;
  ++next.backward[d];
  if (d + 1 < devices_) next.backward_arrivals[d].erase(next.backward_arrivals[d].begin());
  if (d > 0 && !irrelevant(front, d - 1))
    next.backward_arrivals[d - 1].push_back(next.free[d] + stages_[d - 1].hop);
  return next;
}

Front Fronts::after_weight(const Front& front, std::int32_t d) const {
  Front next = front;
  next.free[d] += stages_[d].weight;
  ++next.weight[d];
  return next;
}

Ticks Fronts::with_room(const Front& front, std::int32_t d, Ticks start, Ticks backward) const {
  const Bytes needed = excess(front, d);
  if (needed <= 0) return start;
  const Stage& stage = stages_[d];
  const std::int32_t pending = front.backward[d] - front.weight[d];
  const std::int32_t live = front.forward[d] - front.backward[d];
  Ticks least = kNever;
  for (std::int32_t ends = 0; ends <= live; ++ends) {
    const Bytes rest = std::max<Bytes>(0, needed - ends * (stage.activation - stage.kept));
    if (rest > 0 && stage.kept == 0) continue;
    const Bytes weights = rest == 0 ? 0 : (rest + stage.kept - 1) / stage.kept;
    if (weights > pending + ends) continue;
    const Ticks work = ends * stage.backward + weights * stage.weight;
    Ticks now = front.free[d] + work;
    if (ends > 0) now = std::max(now, backward + ends * stage.backward);
    least = std::min(least, now);
  }
  return std::max(start, least);
}

}  // namespace planner::pipeline_suffix
