// Which of two storages had better leave.
#pragma once

#include <cstdint>
#include <vector>

#include "joint_residency.hpp"

namespace planner::joint {

// Let s and t have equal sizes, exact and rounded, and both be free to leave now. Rather t than s
// leaves if t costs no more, no operator can use t before s is used, and either s dies with its
// next use, or neither needs to be written.
//
// For take a plan in which s leaves and t stays. Let t leave in place of s, and where the plan lets
// t leave before s has come back, let s leave then; when s comes back for its next use, read t in
// place of s if s is here. The bytes are the same at every step, and so are the reads; writes are
// no more up to then. Afterwards the copies may be different, t's in place of s's: that matters
// not, as s is dead then or both have theirs in any case.
class Exchange {
 public:
  // Operators first, ..., last - 1 may be left to run.
  Exchange(const JointModel& model, std::int32_t first, std::int32_t last);

  // Sorts storages that may leave by rounded size, largest first, those that had better leave first
  // among equals; and finds for each which ones have to leave before it.
  void sort(const Residency& residency, std::vector<std::int32_t>& candidates);
  // Indices into the sorted candidates.
  const std::vector<std::int32_t>& before(std::size_t i) const { return before_[i]; }

 private:
  bool reaches(std::int32_t v, std::int32_t w) const;
  bool may_replace(const Residency& residency, std::size_t s, std::size_t t) const;

  static constexpr std::int64_t kLargestTableBytes = std::int64_t{1} << 26;

  const JointModel& model_;
  const std::int32_t first_, last_;
  std::size_t words_ = 0;             // of a row; 0: the table would be too large
  std::vector<std::uint64_t> after_;  // row v - first: the operators after v, and v
  // Of the candidates.
  struct Candidate {
    std::int32_t storage;
    std::int64_t cost;
    bool write_free, dies;
    std::vector<std::int32_t> users;  // left to run
    std::int32_t rank;
    std::vector<std::int32_t> better;
  };
  std::vector<Candidate> candidates_;
  std::vector<std::int32_t> order_, place_;
  std::vector<std::vector<std::int32_t>> before_;
};

}  // namespace planner::joint
