// The order of one part: exact search, decisions and beam in turns, within budgets.
#pragma once

#include <cstdint>

#include "control.hpp"
#include "order_model.hpp"
#include "order_path.hpp"

namespace planner::order {

struct PartSearchOptions {
  std::uint64_t seed;
  Rules rules;
  std::int64_t memory_bytes;
  double time_limit_s;
};

struct PartSearchResult {
  Order order;         // the default one if nothing better was found
  std::int64_t peak;   // of it, or the starting level if that is higher
  std::int64_t bound;  // peak of any order, if above the starting level; otherwise that
  std::int64_t states = 0;
  std::int64_t expanded = 0;
  std::int64_t decisions = 0;
  std::int64_t beams = 0;
};

// Improves on the default order, the best known, until the peak is not above `level` or proven
// smallest. The default order is also what downsets are stored relative to: those worth a look
// are close to its prefixes.
PartSearchResult search_part(const OrderModel& model, std::int64_t level,
                             const PartSearchOptions& options, const CancelFlag* cancel);

}  // namespace planner::order
