// Stages on devices and their microbatches, as the kernels of pipeline schedules see them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

namespace planner::pipeline {

constexpr std::int64_t kNever = std::numeric_limits<std::int64_t>::max() / 4;

enum Kind : std::int32_t { kForward = 0, kBackward = 1, kWeight = 2 };

inline std::size_t at(std::int32_t i) { return static_cast<std::size_t>(i); }

// What a problem is made of; one entry a stage, `limit` one a device (kNever for none).
struct PipelineCosts {
  std::vector<std::int64_t> forward, backward, weight, activation, kept;
  std::vector<std::int64_t> hop;  // from a stage to the next, and of its gradient back
  std::vector<std::int32_t> device_of;
  std::vector<std::int64_t> limit;
  std::int32_t microbatches = 0;
  bool makespan = false;  // what counts: the makespan, or the longest stage
};

// A **letter** is a kind of pass of a stage, 3 * stage + kind; a **pass** is a letter and a
// microbatch, letter * microbatches + microbatch. Passes of one letter are interchangeable, so they
// run in the order of their microbatches and the order of a device is a word over its letters.
struct PipelineModel {
  explicit PipelineModel(PipelineCosts given);

  std::int32_t stages, devices, microbatches, letters, passes;
  bool makespan;
  std::vector<std::int32_t> device_of;              // per stage
  std::vector<std::vector<std::int32_t>> stages_of;  // per device, in the order of the forward pass
  std::vector<std::int64_t> limit;                   // per device

  // Per stage.
  std::vector<std::int64_t> activation, kept, hop;
  std::vector<std::int32_t> row;  // how many stages its device has before it

  // Per letter.
  std::vector<std::int64_t> ticks;
  std::vector<std::int64_t> memory;       // what is held after it less what was held before
  std::vector<std::int32_t> input;        // passes to go from a pass to the one it waits for; 0: none
  std::vector<std::int64_t> input_lag;    // from start to start
  std::vector<std::int32_t> output;       // the same of the one that waits for it
  std::vector<std::int64_t> output_lag;
  std::vector<std::int32_t> output_device;
  // Passes to go to those of the same device and microbatch that come before and after it in any
  // order: the forward pass before the backward one, chunk after chunk.
  std::vector<std::vector<std::int32_t>> earlier, later;

  // Per pass.
  std::vector<std::int32_t> letter_of;

  // Per device, where its passes begin in a schedule; one more at the end.
  std::vector<std::int32_t> begin;

  std::int64_t period = 0;             // ticks of the busiest device per microbatch
  std::vector<std::int64_t> work;      // per device, ticks of all its passes

  std::int32_t microbatch_of(std::int32_t pass) const {
    return pass - letter_of[at(pass)] * microbatches;
  }
  std::int32_t device_of_letter(std::int32_t letter) const { return device_of[at(letter / 3)]; }
};

// All passes, device by device, in order.
using Order = std::vector<std::int32_t>;

// Why the order is none of this model that fits the limits, or nothing. Deadlocks are not looked for.
std::string fault_of(const PipelineModel& model, const Order& order);

}  // namespace planner::pipeline
