// List scheduling of a pipeline by target times, under the memory limits.
#pragma once

#include <cstdint>
#include <vector>

#include "pipeline_model.hpp"

namespace planner::pipeline {

// When passes ought to run, and how patient devices are.
struct Targets {
  std::vector<std::int64_t> tick;  // per pass; the least first
  double wait = 0.0;         // for a pass due earlier, in ticks of the pass that could run
  double weight_wait = 0.0;  // before a W fills a gap, in ticks of W
  bool make_room = false;    // run W at once if an F that is due does not fit
  std::vector<std::int32_t> most_live;  // per device, copies of its first chunk; empty: any number
};

// Schedules every pass, in the order of time; deterministic.
//
// A device that is free takes, of the passes whose input is there and that fit, the one with the
// least target. Two conditions let an F of stage s start on device d:
//   1. what d holds and the activations of s are within the limit;
//   2. so are the activations of all forward passes on d without their B, those of s, and one
//      microbatch of every later stage of d that has no such forward pass.
//
// With limits of at least one microbatch of all stages of each device, no schedule gets stuck.
// Write live(s) for the F of stage s that have run without their B.
//   (i) If no stage of d from the q-th on is live, the activations of d's live passes and one
//       microbatch of each stage from the q-th on are within the limit. Take the last F of an
//       earlier stage of d to have started: condition 2 counted each of these stages then, live or
//       reserved, and live passes of earlier stages have only become fewer since. If there was
//       none, nothing is live, and the limit is at least one microbatch of all stages.
//   (ii) Say nothing runs and no pass can start. Then no W is due, as a W needs nothing, so devices
//       hold live activations only and condition 1 follows from condition 2. By induction from the
//       last stage, none is live: were s live and no later stage, then either stage s + 1 has run
//       every F that s has, and so all their B, and the B of s can start; or it has not, and its
//       next F can, by (i). So nothing is live, and by (i) the next F of the first stage can start
//       if one is left.
// Waiting does not change this: a device waits only for a pass whose input is under way and that is
// due earlier, so waits end; and a bound of at least 1 on live copies does not, as (ii) only ever
// starts an F of a stage that is not live.
class ListScheduler {
 public:
  explicit ListScheduler(const PipelineModel& model);

  // Whether the schedule could take at most `most` ticks on every device; if not, it is left
  // unfinished. Also false if a limit is below one microbatch of all stages of a device.
  bool run(const Targets& targets, std::int64_t most);

  const Order& order() const { return order_; }
  std::int64_t longest_stage() const { return longest_stage_; }
  std::int64_t makespan() const { return makespan_; }

 private:
  struct Candidate {
    std::int32_t letter = -1;
    std::int64_t target = kNever;
    std::int64_t ready = 0;
  };

  void decide(std::int32_t device, const Targets& targets);
  void start(std::int32_t device, std::int32_t letter);

  const PipelineModel& model_;
  Order order_;
  std::vector<std::int64_t> start_;       // per pass
  std::vector<std::int32_t> count_;       // per letter, passes started
  std::vector<std::int32_t> next_;        // per device, where its next pass goes
  std::vector<std::int64_t> clock_, wake_, first_, left_;
  std::vector<std::int64_t> held_;        // what W's to come keep included
  std::vector<std::int64_t> live_;        // activations of F without their B
  std::int64_t now_ = 0, longest_stage_ = 0, makespan_ = 0;
  std::int32_t done_ = 0;
};

}  // namespace planner::pipeline
