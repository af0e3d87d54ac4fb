// Zero-bubble schedules of one stage per device: local rules over time, and a search for settings.
#pragma once

#include <cstdint>
#include <vector>

#include "control.hpp"
#include "pipeline_model.hpp"

namespace planner::zero_bubble {

using Ticks = std::int64_t;
using Bytes = std::int64_t;

struct Stage {
  Ticks forward;
  Ticks backward;
  Ticks weight;
  Ticks hop;  // To the next stage and back; of the last stage it means nothing.
  Bytes activation;
  Bytes kept;
  Bytes limit;
};

// A pipeline model of one stage per device, stage by stage.
struct Problem {
  explicit Problem(const pipeline::PipelineModel& model);

  std::vector<Stage> stages;
  std::int32_t microbatches;
  bool makespan;  // The cost, instead of the longest stage.
};

// What the rules leave open, per device.
struct Setting {
  std::int32_t ahead;  // Forward passes before the first backward pass.
  std::int32_t lead;   // Forward passes without their backward pass that are worth having.
  double gap;          // A wait of this share of W's ticks is filled with W.
  bool make_room;      // W, not B, comes first where memory keeps a forward pass from starting.
  bool hold_back;      // With the lead reached, W comes before another forward pass.
};

using pipeline::Kind;
using pipeline::kBackward;
using pipeline::kForward;
using pipeline::kWeight;

struct Cost {
  Ticks worst;  // What the objective counts.
  Ticks total;  // Of all devices: a slope where the worst has a plateau.

  bool operator<(const Cost& other) const {
    return worst != other.worst ? worst < other.worst : total < other.total;
  }
};

using Words = std::vector<std::vector<std::uint8_t>>;  // Kinds, per device in order.

// Plays the rules; the orders go to `words` unless it is null.
Cost play(const Problem& problem, const std::vector<Setting>& settings, Words* words);

struct Found {
  Words words;
  Cost cost;
  std::int64_t plays;
};

// Plays systematic settings, then random changes of the best, about `budget` passes in all; then
// improves the orders. Where stopped it returns the best so far.
Found search(const Problem& problem, std::int64_t budget, std::uint64_t seed, Control& control);

// Tries to move single passes of `found`, as often as an order fits into `budget` passes.
void improve(const Problem& problem, Found& found, std::int64_t budget, std::uint64_t seed,
             Control& control);

}  // namespace planner::zero_bubble
