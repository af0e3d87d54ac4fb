// Sets of storages of which at least one has to be absent at least once, and what that costs.
#pragma once

#include <cstdint>
#include <limits>
#include <vector>

#include "joint_residency.hpp"

namespace planner::joint {

// One bit per cut: hit, some member has been absent.
using Hits = std::vector<std::uint64_t>;

// Each cut C has a weight y(C) >= 0 such that the weights of the cuts with a member s add up to no
// more than the write and the read of its first absence.
//
// Of a path to a state, the cuts that it has not hit are due: any completion makes some member
// absent for the first time, and the first absences of the members pay at least the weights of all
// cuts that they hit. What the path has spent, the reads of absent storages included, pays none of
// that. So spent + due bounds the completions of this path. It does not have to bound those of
// another path to the same state: dominance lets a path go only if what remains is, by its own
// completions, at least as good, and those are bounded by their own dues. Where the path grows, the
// sum does not fall: an absence costs no less than the weights of the cuts that it hits.
class Cuts {
 public:
  // Weights by dual ascent. A row is a cut; members that are never absent do not matter.
  Cuts(const JointModel& model, const std::vector<std::vector<std::int32_t>>& cuts);

  std::size_t count() const { return weight_.size(); }
  std::size_t words() const { return (count() + 63) / 64; }
  std::int64_t total() const { return total_; }
  static bool is_hit(const Hits& hits, std::int32_t cut) {
    return hits[index(cut) >> 6] >> (cut & 63) & 1;
  }
  // Sum of the weights of the cuts not hit.
  std::int64_t due(const Hits& hits) const;
  // Marks the cuts of s as hit. Returns how much less is due.
  std::int64_t hit(std::int32_t s, Hits& hits) const;

  // A bound on what the completions of a path pay for cuts it has not hit, not below due(hits):
  // what has died, and cuts that were hit, leave room to raise the weights of the others.
  // kDeadEnd if all members of such a cut have died: then there are no completions.
  std::int64_t bound(const Residency& residency, const Hits& hits);
  static constexpr std::int64_t kDeadEnd = std::numeric_limits<std::int64_t>::max();

 private:
  const JointModel& model_;
  std::vector<std::vector<std::int32_t>> members_;
  std::vector<std::int64_t> weight_;
  std::vector<std::vector<std::int32_t>> of_storage_;
  std::vector<std::int64_t> slack_;  // of storages: cost of the first absence less weights
  std::int64_t total_ = 0;
};

}  // namespace planner::joint
