// Ruin and recreate: takes some residencies away, places others in their stead, keeps what helps.
#pragma once

#include <cstdint>
#include <vector>

#include "control.hpp"
#include "mapping_decoder.hpp"
#include "mapping_random.hpp"
#include "mapping_results.hpp"
#include "mapping_state.hpp"

namespace planner::mapping {

struct RefineSettings {
  Weights weights{};
  std::int64_t attempts = 0;  // calls of MappingState::place
};

// Improves a state until its attempts or its time are used up, and returns the best it met. Its
// latency is never above the state's own.
MappingResult refine(MappingState& state, const RefineSettings& settings, const Reach& reach,
                     Random& random, Control& control);

}  // namespace planner::mapping
