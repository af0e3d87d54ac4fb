// Exact search part by part.
#pragma once

#include <cstdint>
#include <vector>

#include "control.hpp"
#include "joint_model.hpp"

namespace planner::joint {

struct SearchOptions {
  std::int64_t lower_bound = 0;  // proven, of the whole problem
  std::int64_t upper = 0;        // only orders with less traffic are looked for
  std::int64_t memory_bytes = 0;
};

struct SearchResult {
  bool found = false;               // an order with traffic below `upper`
  std::vector<std::int32_t> order;  // if found
  std::int64_t traffic = 0;         // of the order
  std::int64_t bound = 0;           // no order has less traffic, unless it is below `upper`
  bool finished = false;            // the order is optimal, or none has less than `upper`
  bool full = false;                // out of memory
  std::int32_t parts = 0;
  std::int64_t root_bound = 0;      // the given one, or that of the cuts
  std::int64_t states = 0;
  std::int64_t expanded = 0;
  double cpu_s = 0.0;
};

// `cuts`: of each row, some storage is absent at least once in every plan. An order is feasible
// only if there is one; without `upper` in the way, finishing without an order proves that there
// is none.
SearchResult search(const JointModel& model, const std::vector<std::vector<std::int32_t>>& cuts,
                    const SearchOptions& options, Control& control);

// The operator whose operands exceed the capacity by most even if the largest of its in-place
// options is overwritten, and the bytes that it needs; -1 if all fit.
struct Footprint {
  std::int32_t operation = -1;
  std::int64_t bytes = 0;
};
Footprint beyond_capacity(const JointModel& model);

}  // namespace planner::joint
