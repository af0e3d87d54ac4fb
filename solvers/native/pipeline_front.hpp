// Fronts of a pipeline with one stage per device: how many passes of each kind every device has
// done, when what follows can be, and what that takes at least.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

#include "pipeline_suffix.hpp"

namespace planner::pipeline_suffix {

constexpr Ticks kNever = Ticks{1} << 60;
using Counts = std::array<std::int32_t, kMostDevices>;
using Times = std::array<Ticks, kMostDevices>;
using Queue = std::vector<Ticks>;

// A device that ends at a tick makes the whole take that and `more` ticks, divided by `share`; one
// with share 0 may end whenever it likes.
struct End {
  Ticks more = 0;
  Ticks share = 0;
};
using Ends = std::array<End, kMostDevices>;

// What is done, and when what follows can be. Arrivals are of the passes that follow on a device
// and whose predecessor elsewhere is done.
struct Front {
  Counts forward{}, backward{}, weight{};
  Times free{};
  std::array<Queue, kMostDevices> forward_arrivals, backward_arrivals;
};

// Ticks from the start of the next F, and of the next B, of a device to the end, by how many
// microbatches of it remain.
struct Tails {
  std::array<std::vector<Ticks>, kMostDevices> forward, backward;
};

struct Ready {
  Times forward, backward;
};

// What may follow a front of so many microbatches, and how soon.
class Fronts {
 public:
  Fronts(const Problem& problem, std::int32_t microbatches, const Tails& tails, const Ends& ends)
      : stages_(problem.stages),
        devices_(static_cast<std::int32_t>(problem.stages.size())),
        microbatches_(microbatches),
        home_(std::max(problem.device, 0)),
        tails_(tails),
        ends_(ends) {}

  // The most forward passes that memory lets a device do before its first B.
  std::int32_t ahead(std::int32_t device) const {
    const Stage& stage = stages_[device];
    if (stage.activation == 0) return microbatches_;
    const Bytes most = stage.limit / stage.activation;
    return static_cast<std::int32_t>(std::min<Bytes>(most, microbatches_));
  }

  // Whether what a device still has to do makes no difference to any end that counts.
  bool irrelevant(const Front& front, std::int32_t d) const {
    if (ends_[d].share > 0 || front.forward[d] < microbatches_) return false;
    return d < home_ || front.backward[d] == microbatches_;
  }

  bool complete(const Front& front) const {
    for (std::int32_t d = 0; d < devices_; ++d)
      if (ends_[d].share > 0 && front.weight[d] < microbatches_) return false;
    return true;
  }

  bool backward_known(const Front& front, std::int32_t d) const {
    if (d + 1 == devices_) return front.backward[d] < front.forward[d];
    return !front.backward_arrivals[d].empty();
  }

  bool forward_known(const Front& front, std::int32_t d) const {
    if (front.forward[d] == microbatches_) return false;
    return d == 0 || !front.forward_arrivals[d].empty();
  }

  Ticks backward_start(const Front& front, std::int32_t d) const {
    if (d + 1 == devices_) return front.free[d];
    return std::max(front.free[d], front.backward_arrivals[d].front());
  }

  Ticks forward_start(const Front& front, std::int32_t d) const {
    return d == 0 ? front.free[d] : std::max(front.free[d], front.forward_arrivals[d].front());
  }

  bool can_forward(const Front& front, std::int32_t d) const {
    return forward_known(front, d) && excess(front, d) <= 0;
  }

  // The earliest start of the next F and of the next B of each device: no later than they can be.
  Ready ready(const Front& front) const;

  // Moves times to the earliest that they can matter, so that equal prospects look equal.
  void tighten(Front& front, const Ready& at) const;

  // The least ticks of whatever completes a front.
  Ticks bound(const Front& front, const Ready& at) const;

  Front after_forward(const Front& front, std::int32_t d) const;
  Front after_backward(const Front& front, std::int32_t d) const;
  Front after_weight(const Front& front, std::int32_t d) const;

 private:
  const std::vector<Stage>& stages_;
  std::int32_t devices_, microbatches_, home_;
  const Tails& tails_;
  const Ends& ends_;

  Bytes excess(const Front& front, std::int32_t d) const {
    const Stage& stage = stages_[d];
    const Bytes held = (front.forward[d] + 1 - front.backward[d]) * stage.activation +
                       (front.backward[d] - front.weight[d]) * stage.kept;
    return held - stage.limit;
  }

  // The earliest start of a forward pass that needs what B and W give back first.
  Ticks with_room(const Front& front, std::int32_t d, Ticks start, Ticks backward) const;
};

}  // namespace planner::pipeline_suffix
