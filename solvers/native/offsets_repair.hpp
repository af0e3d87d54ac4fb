// Lowers a packing: what sticks out above a target goes elsewhere, and what lies there moves on.
#pragma once

#include <cstddef>
#include <cstdint>

#include "control.hpp"
#include "offsets_greedy.hpp"
#include "offsets_instance.hpp"

namespace planner::offsets {

struct RepairLimits {
  std::uint64_t work;     // buffers looked at, altogether
  std::uint64_t attempt;  // and for one target

  // Buffers without a place, above those at the start, at which a target is given up: by then the
  // packing falls apart faster than it is put together.
  std::size_t adrift = 300;

  // A buffer's weight grows by this factor whenever it takes a place by force or loses its own, so
  // that the same few buffers do not displace each other for ever.
  double escalation = 1.5;
};

// Lowers the packing towards `goal` (or the instance's bound, if that is higher) in steps, each an
// ejection chain: a buffer without a place takes the cheapest one, whoever lies there has to find
// another. Stops at the goal, at the limit, when the steps have become tiny, or when the control
// says so. True if the packing is lower than before. For instances without constraints.
bool repair(const Instance& instance, Packing& packing, std::int64_t goal, RepairLimits limits,
            Control& control);

}  // namespace planner::offsets
