// Which offsets of two buffers of a pairwise instance go together.
#pragma once

#include <cstdint>
#include <vector>

#include "offsets_instance.hpp"

namespace planner::offsets {

// The rule for the two, or null.
const PairRule* rule_between(const Instance& instance, std::int32_t u, std::int32_t v);

// Intervals in which offset(v) - offset(u) must not be, ascending and disjoint, their ends in whole
// granules. `by_uses` takes no notice of a rule.
std::vector<OpenInterval> forbidden_by_uses(const Instance& instance, std::int32_t u,
                                            std::int32_t v);
std::vector<OpenInterval> forbidden_differences(const Instance& instance, std::int32_t u,
                                                std::int32_t v);

}  // namespace planner::offsets
