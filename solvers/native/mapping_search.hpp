// Search over priorities: starts, evolution of feature weights on the program at hand, then ruin
// and recreate; and, as a control, evolution of one key per buffer.
#pragma once

#include <cstdint>
#include <vector>

#include "control.hpp"
#include "mapping_decoder.hpp"
#include "mapping_random.hpp"
#include "mapping_results.hpp"

namespace planner::mapping {

struct Start {
  Weights weights{};
  std::int32_t window = 1 << 30;
};

struct SearchSettings {
  std::vector<Start> starts;       // the first of equal ones wins
  std::int32_t evolution = 0;      // decodes spent on other weights
  std::int64_t attempts = 0;       // in all; what the decodes leave is for ruin and recreate
  bool fifo = false;
  bool addresses = false;
};

MappingResult search(const MappingModel& model, const SearchSettings& settings, Random& random,
                     Control& control);

// (1 + 1) evolution of the keys of the first decoder, from the best static key.
MappingResult evolve_keys(const MappingModel& model, std::int32_t decodes, const Reach& reach,
                          Random& random, Control& control);

}  // namespace planner::mapping
