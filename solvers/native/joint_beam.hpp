// Beam search over orders and residency, for least traffic by capacity alone.
#pragma once

#include <cstdint>
#include <vector>

#include "control.hpp"
#include "joint_eviction.hpp"

namespace planner::joint {

constexpr std::int32_t kWidestBeam = 1 << 20;

struct BeamOptions {
  std::int32_t first_width = 16;
  std::int32_t last_width = 1 << 14;  // at most kWidestBeam
  std::int64_t goal = 0;  // traffic that cannot be beaten
};

struct BeamResult {
  Order order;
  std::int64_t traffic = kDoesNotFit;
  std::int64_t states = 0;
  std::int64_t beams = 0;       // carried through
  std::int32_t last_width = 0;  // of the last beam carried through
};

// Beams of growing width, several rankings each, until all are done, none is cut short, or the
// deadline. The best order, that of the best of `starts` included, by OrderTraffic::improved.
// `starts`: topological orders, at least one.
BeamResult beam(const JointModel& model, const std::vector<Order>& starts,
                const BeamOptions& options, Control& control);

}  // namespace planner::joint
