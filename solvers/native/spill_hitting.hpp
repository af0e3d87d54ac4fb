// The cheapest levels that meet every cut: a hitting set in which an element has several grades.
#pragma once

#include <cstdint>
#include <vector>

#include "control.hpp"

namespace planner::joint {

// Counts, by its weight, if the element has a higher level.
struct CutMember {
  std::int32_t element, level;
  std::int64_t weight;
};

// Met if the weights of the members that count add up to the demand. Weights and demand are
// positive, no weight is above the demand; a plain cut has demand 1. Elements differ.
struct Cut {
  std::vector<CutMember> members;
  std::int64_t demand;
};

struct HittingProblem {
  // Of an element: the cost of level 1, and of each further level. Not negative.
  std::vector<std::int64_t> first_cost, more_cost;
  std::vector<Cut> cuts;  // all of them can be met
};

struct HittingResult {
  std::vector<std::int32_t> levels;  // of an element
  std::int64_t cost = 0;
  std::int64_t bound = 0;  // equal to the cost when proven
  std::int64_t nodes = 0;
};

// Branch and bound over the cut with the fewest members left. Lower bounds by dual ascent: each cut
// charges its members, by weight, until some of them are paid for; then it takes these for granted
// and charges the others for what is still missing (knapsack cover inequalities; Carnes and Shmoys,
// 2008), until nothing is.
HittingResult minimum_hitting_set(const HittingProblem& problem, std::int64_t max_nodes,
                                  Control& control);

}  // namespace planner::joint
