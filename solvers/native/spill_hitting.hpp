// The cheapest levels that meet every cut: a hitting set in which an element has several grades.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "control.hpp"

namespace planner::joint {

struct HittingProblem {
  // Of an element: the cost of level 1, and of each further level. Not negative.
  std::vector<std::int64_t> first_cost, more_cost;
  // (element, level): met by a higher level of the element. No cut is empty.
  std::vector<std::vector<std::pair<std::int32_t, std::int32_t>>> cuts;
};

struct HittingResult {
  std::vector<std::int32_t> levels;  // of an element
  std::int64_t cost = 0;
  std::int64_t bound = 0;  // equal to the cost when proven
  std::int64_t nodes = 0;
};

// Branch and bound over the cut with the fewest members left; lower bounds by dual ascent: each cut
// charges its members until one of them is paid for.
HittingResult minimum_hitting_set(const HittingProblem& problem, std::int64_t max_nodes,
                                  Control& control);

}  // namespace planner::joint
