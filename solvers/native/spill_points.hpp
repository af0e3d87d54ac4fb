// When a storage has to be resident, and the ways to be absent a limited number of times.
//
// The points of a storage are the moments at which it has to be resident: each user, its writers
// together, the beginning (the first operator) if it has no starters, the end if it is kept. A plan
// in which it is absent at most k times parts its points into k + 1 groups: from the first to the
// last of a group it stays resident. Given the groups, an order of the operators in which each
// group is a storage of its own fits exactly if such a plan exists: groups of a plan do not overlap
// in time, so no byte counts twice; and where groups of an order overlap, counting them twice is
// only safe. So limits on absences need no search of their own: some choice of groups has an
// order, or no plan keeps the limits.
#pragma once

#include <cstdint>
#include <vector>

#include "joint_model.hpp"

namespace planner::joint {

// Points that are one stay of a storage.
struct Group {
  std::int32_t storage = 0;
  std::vector<std::int32_t> operators;  // ascending
  bool from_beginning = false;
  bool to_end = false;
};

// The points of the storage, each as a group of its own.
std::vector<Group> points(const JointModel& model, std::int32_t storage);

// Absences beyond this number are impossible. 0 for storages without bytes.
std::int32_t most_absences(const JointModel& model, std::int32_t storage);

// All ways to part the points into `count` groups that an order can keep apart in time; nothing if
// there are more than `limit`, or to look at.
std::vector<std::vector<Group>> groupings(const JointModel& model, std::int32_t storage,
                                          std::int32_t count, std::int32_t limit);

// The model in which each of these groups is a storage, appended in this order, and what remains of
// their storages is the operators in no group: to be declared absent. A group of a single operator
// should not be among them, as this is what absence means.
JointModel with_groups(const JointModel& model, const std::vector<Group>& groups);

}  // namespace planner::joint
