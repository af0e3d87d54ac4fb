// Runs safe chains, and remembers for the children of a state which of them are worth a look.
#pragma once

#include <cstdint>
#include <vector>

#include "joint_residency.hpp"

namespace planner::joint {

class SafeChains {
 public:
  SafeChains(const JointModel& model, Residency& residency);

  // Chains contain only operators below `last`; any at first.
  void end_before(std::int32_t last) { last_ = last; }

  // Runs safe chains until there is none.
  void close_all();

  // Right after Residency::move_to to a state without safe chains: notes what the chains of the
  // ready operators depend on.
  void watch();
  // After watch(), evictions and operators run: as close_all(), but looks only at what they affect.
  void close(const std::vector<std::int32_t>& evicted);

 private:
  void close_affected();
  void affect(std::int32_t x);
  void affect_users(std::int32_t s);
  void affect_by(std::int32_t v);

  const JointModel& model_;
  Residency& residency_;
  std::int32_t last_;
  std::vector<std::vector<std::int32_t>> by_storage_, by_operator_;  // whose chains looked at it
  std::vector<std::int32_t> storages_, operators_;                   // those with any
  std::vector<std::int32_t> crowded_;                                // chains without room
  std::vector<std::int32_t> affected_;
  std::vector<char> is_affected_;
};

}  // namespace planner::joint
