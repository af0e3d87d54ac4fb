// Bounds of small pipelines with one stage per device, by best-first search over fronts: how many
// passes of each kind every device has done, and when it and what it waits for are ready.
#pragma once

#include <cstdint>
#include <vector>

#include "control.hpp"

namespace planner::pipeline_suffix {

using Ticks = std::int64_t;
using Bytes = std::int64_t;

constexpr std::int32_t kMostDevices = 8;
constexpr std::int32_t kMostMicrobatches = 64;

struct Stage {
  Ticks forward;
  Ticks backward;
  Ticks weight;
  Ticks hop;  // To the next stage and back; of the last stage it means nothing.
  Bytes activation;
  Bytes kept;
  Bytes limit;
};

struct Problem {
  std::vector<Stage> stages;  // All passes take at least one tick.
  std::int32_t microbatches;
  // The device whose span is bounded, from its first start to its last end; -1 for the makespan.
  std::int32_t device;
  // Whether the ends of the other devices count as well: each of them may end as much later as it
  // starts, and it starts early enough for the bounded device to end in time.
  bool all_ends;
};

enum Kind : std::uint8_t { kForward, kBackward, kWeight };

struct Bound {
  Ticks ticks;
  std::int64_t nodes;
  // Of a schedule that takes so many ticks, the kinds of pass of each device up to where what is
  // left makes no difference to them; empty where the search ended before there was one.
  std::vector<std::vector<std::uint8_t>> words;
};

// The least ticks, or `enough` where they are not less, or less than either where the search of
// `most_nodes` nodes, of a tenth of that at most for each shorter suffix, or `control` ended it.
Bound suffix_bound(const Problem& problem, Ticks enough, std::int64_t most_nodes,
                   Control& control);

}  // namespace planner::pipeline_suffix
