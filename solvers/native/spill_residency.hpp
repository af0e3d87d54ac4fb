// What a given order costs: some residency that fits at every step, by capacity alone.
#pragma once

#include <cstdint>
#include <vector>

#include "joint_model.hpp"
#include "order_heuristics.hpp"
#include "spill_stays.hpp"

namespace planner::joint {

// Steps at both of which the storage is resident, and between which it is not.
struct Absence {
  std::int32_t storage;
  std::int32_t first, last;
};

struct Residency {
  bool fits = false;
  std::int64_t traffic = 0;
  std::vector<std::int32_t> absences;  // of a storage: how many
  std::vector<Absence> gaps;           // all of them
};

// Starts with every storage resident only where it has to be and keeps it resident over its gaps,
// one by one, where that fits: first those of storages that are not `absent`, then those inside
// `groups`, then the others, the largest storages first. A heuristic in the last of these only.
// Stricter than the model in two points: operands that return have to fit before the operator's
// outputs come to life and overwrite them, and what comes to life as an operand is not overwritten.
Residency reside(const JointModel& model, const order::Order& order,
                 const std::vector<char>& absent, const std::vector<Group>& groups);

}  // namespace planner::joint
