// Time, cut into sections: see Instance.
#pragma once

#include <cstdint>
#include <vector>

namespace planner::offsets {

struct Sections {
  std::int32_t count = 0;
  std::vector<std::int32_t> first, end;  // half-open range of each lifetime
};

// The sections of lifetimes [lower, upper), not empty.
Sections number_sections(const std::vector<std::int64_t>& lower,
                         const std::vector<std::int64_t>& upper);

}  // namespace planner::offsets
