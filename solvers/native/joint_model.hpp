// Order and residency as the kernels see them: planner.joint_problem.JointProblem. Storages keep
// their numbers. Sizes add up to at most order::kMaxTotalBytes, so no sum of sizes overflows.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "order_model.hpp"

namespace planner::joint {

using order::index;
using order::Rows;
using order::Span;

struct JointModel {
  std::int32_t operators = 0;
  std::int64_t capacity = 0;
  std::vector<std::int64_t> size;     // what traffic counts
  std::vector<std::int64_t> rounded;  // what occupies memory; 0 for storages nobody uses
  std::vector<char> has_copy, kept;
  Rows starters, users, writers;  // of a storage; ascending
  Rows predecessors, successors;  // of an operator; ascending, predecessors are smaller
  Rows uses, starts;              // of an operator: storages with bytes
  Rows in_place;                  // of an operator: storages that it may overwrite; none is kept

  std::int32_t storages() const { return static_cast<std::int32_t>(size.size()); }
  // Traffic of one absence beyond the first.
  std::int64_t read_cost(std::int32_t s) const { return size[index(s)]; }
  std::int64_t write_cost(std::int32_t s) const { return has_copy[index(s)] ? 0 : size[index(s)]; }
};

struct JointArrays {
  order::OrderArrays order;  // sizes not rounded
  const bool* has_copy;
  std::size_t has_copy_size;
  order::RaggedView writers;
  std::int64_t alignment;
  std::int64_t capacity;
};

// Checks every index and size. Returns what is wrong, or nothing after filling `model`.
std::optional<std::string> build_model(const JointArrays& arrays, JointModel& model);

// The ordering problem in which storages with `absent` need bytes only while an operator uses
// them, and the others all their life. Without any it is the problem of the smallest peak.
order::OrderModel ordering(const JointModel& model, const std::vector<char>& absent);

}  // namespace planner::joint
