// Decomposition at operators that are comparable with all others.
#pragma once

#include <cstdint>
#include <vector>

#include "order_model.hpp"

namespace planner::order {

// The operators first, ..., last - 1; in any order they run after all smaller ones and before all
// larger ones.
struct Part {
  std::int32_t first, last;
  std::int32_t size() const { return last - first; }
};

// An operator that is an ancestor or a descendant of every other runs at the same place in every
// order, and splits it: each part can be ordered by itself, and the largest of their peaks counts.
// Such operators are parts of size 1. O(operators + edges).
std::vector<Part> split(const OrderModel& model);

// The model of one part, operators renumbered; what else is live meanwhile is in its base. Its f is
// the whole model's f with all operators before the part added to the downset.
class PartModels {
 public:
  explicit PartModels(const OrderModel& model);
  // `numbering` lists the part's operators in an order that respects the predecessors.
  OrderModel of(Part part, const std::vector<std::int32_t>& numbering);

 private:
  const OrderModel& model_;
  std::vector<std::int64_t> live_before_;     // f after the operators 0 .. v - 1
  std::vector<std::int32_t> storage_index_;   // in the part's model, or -1; all -1 between calls
  std::vector<std::int32_t> number_;          // in the part's model, of the operators of the part
};

}  // namespace planner::order
