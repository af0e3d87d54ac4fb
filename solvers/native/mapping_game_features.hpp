// What a player in program order sees of a position; docs/malloc_game.md lists it.
#pragma once

#include "mapping_game.hpp"

namespace planner::mapping {

constexpr int kGameFeatures = 83;

// All values are finite and lie in [-8, 8].
void observe(const Board& board, const Decision& decision, float* values);

}  // namespace planner::mapping
