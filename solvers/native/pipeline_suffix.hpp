// Bounds of small pipelines with one stage per device, by best-first search over fronts: how many
// passes of each kind every device has done, and when it and what it waits for are ready.
//
// What is asked. Microbatches run in order (see exact_model.py). Tick 0 is the first start of the
// home device: the first, or the one asked about. Each question's cost never falls as an end moves
// later, and no schedule's objective is below it. Of the makespan it is the last end. Of the
// longest stage it is the last end of the devices up to home, which all start by tick 0; home's W
// end counts in full, and of the others' B what the tails below see of it. With `all_ends`, a
// device before home started at least the F and hops between earlier and ends so much after that;
// one behind home, e, ends t and starts s <= cost - tail(e), so that 2 cost >= t - s + s + tail(e).
//
// Active schedules are enough. Memory depends on counts alone: a device runs one pass at a time,
// all take time, F takes its bytes at the start, B and W give theirs back at the end. Let o be the
// pass that can end first, on device d, at `first`. What cannot start yet, by precedence or for
// room, waits for an end, which is not before `first`. If d's next pass starts then or later, o
// fits before it: moved there, B and W free bytes earlier, and F holds its bytes along with passes
// that only give back, as F run in order and there was room for it. No end moves later, and o
// ends sooner, which cannot go on for ever. So d's next pass is one that can start before `first`,
// and it may start at once, for the same reason.
//
// Dominance. Equal counts mean equal memory and equal passes to come; those wait for the device,
// for arrivals, and for what is yet to come. Where none of these is later, all that completes the
// one front completes the other at the same times.
//
// Tails. Let c F of device d remain and the next start at t. From t on, take of the schedule only
// the last c microbatches: bytes held are no more, and no time changes. Before t, d and those
// behind have done nothing for them; one before d had done F alone, at most limit / activation
// and at most as many as each device before it. Where all these are done at t, the passes that
// remain can keep their times: an F yet to start finds the same F behind it and no fewer B and W.
// So the cost is at least t and that of the pipeline of c microbatches that starts so. Before the
// next B of d, likewise, F of d itself are bounded so, and those behind have done no more F than d
// and may have finished them. This holds of such a start's own fronts too, hence by induction on
// c; and a tail is at least the pass itself and the tail of c - 1.
//
// Passes that no counted end waits for are taken as done, which makes no question's cost more. A
// search that ends early returns the least bound of its open nodes; what completes a dropped node
// costs no less than what completes the one that dominates it.
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
  // The device from whose first start the longest stage is bounded; -1 for the makespan.
  std::int32_t device;
  // Whether all ends of the other devices count as well: each may end as much later as it starts.
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
// `enough` is what some schedule takes: where it is returned, none takes less.
Bound suffix_bound(const Problem& problem, Ticks enough, std::int64_t most_nodes,
                   Control& control);

}  // namespace planner::pipeline_suffix
