// What is settled about the stays of one storage: which of its points share one, and which do not.
//
// The points of a storage are the moments at which it has to be resident: each user, its writers
// together, the beginning (the first operator) if it has no starters, the end if it is kept. If it
// is absent at most k times, it has k + 1 stays at most, so of any k + 2 points two share one.
// Points that have to run between two of a stay belong to it.
//
// Given some points that share a stay, and groups of these that are in different stays, a storage
// for each group, alive from its first to its last operator, needs no more bytes than the plan
// does: stays of a plan do not overlap in time, so no byte counts twice. A user in no group counts
// by itself, unless it may belong to the stay of a group: then it may be counted already.
#pragma once

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "joint_model.hpp"

namespace planner::joint {

// Points that share a stay.
struct Group {
  std::int32_t storage = 0;
  std::vector<std::int32_t> operators;  // ascending
  bool from_beginning = false;
  bool to_end = false;

  std::size_t moments() const {
    return operators.size() + (from_beginning ? 1 : 0) + (to_end ? 1 : 0);
  }
};

// Absences beyond this number are impossible. 0 for storages without bytes.
std::int32_t most_absences(const JointModel& model, std::int32_t storage);

struct Stays {
  std::vector<std::int32_t> class_of;  // of a point: the first point known to share its stay
  std::vector<std::pair<std::int32_t, std::int32_t>> apart;  // classes not in one stay; ascending

  bool operator<(const Stays& other) const;
  bool operator==(const Stays& other) const;
};

// Whether all that `weak` settles is settled in `strong`.
bool implies(const Stays& strong, const Stays& weak);

class StayRules {
 public:
  StayRules(const JointModel& model, std::int32_t storage);

  const std::vector<Group>& points() const { return points_; }
  // Nothing but what follows from the predecessors.
  const Stays& unsettled() const { return unsettled_; }
  // With two points in one stay, or not in one; nothing if that is impossible.
  std::optional<Stays> joined(Stays stays, std::int32_t a, std::int32_t b) const;
  std::optional<Stays> parted(Stays stays, std::int32_t a, std::int32_t b) const;

  // Pairs of points that, joined, give all classes of the stays.
  std::vector<std::pair<std::int32_t, std::int32_t>> joints(const Stays& stays) const;

  // A class of several moments is a group; all groups have to be in different stays.
  Group group(const Stays& stays, std::int32_t class_of) const;
  std::vector<Group> groups(const Stays& stays) const;
  bool is_group(const Stays& stays, std::int32_t class_of) const;
  // Points in no group that may belong to the stay of one, with that one's class.
  std::vector<std::pair<std::int32_t, std::int32_t>> undecided(const Stays& stays) const;

 private:
  bool close(Stays& stays) const;

  std::vector<Group> points_;
  // Of two points: some operator of one, or every one, has to run before some of the other, or
  // every one.
  std::vector<std::vector<char>> partly_before_, wholly_before_;
  Stays unsettled_;
};

// The model in which each of these groups is a storage, appended in this order, and what remains of
// their storages is the operators in no group, less the `uncounted` (storage, operator): to be
// declared absent.
JointModel with_groups(const JointModel& model, const std::vector<Group>& groups,
                       const std::vector<std::pair<std::int32_t, std::int32_t>>& uncounted);

}  // namespace planner::joint
