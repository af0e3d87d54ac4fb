// Cuts: why levels are infeasible, said of as few storages as possible.
//
// If levels need P > B bytes at the best, and raising that of a storage saves at most its size, then
// in any plan the sizes of those absent more often than these levels say add up to P - B or more.
// Storages that can be raised without P falling are left out. Where any member is large enough by
// itself the cut is a plain one: all weights and the demand are 1.
#pragma once

#include <cstdint>
#include <vector>

#include "control.hpp"
#include "spill_hitting.hpp"
#include "spill_levels.hpp"

namespace planner::joint {

// Two points of a storage.
struct PointPair {
  std::int32_t storage, first, second;
};

// Some of the pairs is not in one stay, or some of the others is, or some storage is absent.
struct Clause {
  std::vector<PointPair> parted, joined;
  std::vector<std::int32_t> absent;
};

struct CutSet {
  std::vector<Cut> cuts;
  std::vector<Clause> clauses;  // behind cuts that took a tree
  Answer answer;  // of the last decision; kInfeasible only with a cut that nothing meets
};

// Cuts that the levels do not meet, disjoint except in level; none if the levels are feasible or
// that is not settled within the limits. Each is as small as raising levels in blocks can make
// it, where a decision may take `growth` times the expansions of the proof that it starts from. No
// more of them once that has taken the expansions of one search in all: others wait for the first.
CutSet find_cuts(LevelOracle& oracle, Levels levels, Limits limits, std::int64_t growth,
                 Control& control);

// The cut that follows from a proof that without absences `bytes` do not suffice; not below the
// capacity. `patience` expansions per decision, and a few times that in all.
Cut peak_cut(LevelOracle& oracle, std::int64_t bytes, std::int64_t patience, Control& control);

}  // namespace planner::joint
