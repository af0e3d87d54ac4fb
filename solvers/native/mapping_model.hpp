// A checked mapping problem: rows, buffers and accesses, see planner/mapping_problem.py.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace planner::mapping {

using Ticks = std::int64_t;

struct MappingArrays {
  std::int64_t capacity;
  std::int64_t alignment;
  const std::int64_t* size;
  const bool* has_copy;
  const std::int64_t* copy_in;
  const std::int64_t* copy_out;
  std::size_t buffers;
  const std::int32_t* access_row;
  const std::int32_t* access_buffer;
  const bool* writes;
  const std::int64_t* fast;
  const std::int64_t* slow;
  std::size_t accesses;
  const std::int64_t* arithmetic;
  const std::int64_t* overhead;
  const std::int64_t* other_fast;
  const std::int64_t* other_slow;
  const bool* touches_fast;
  const bool* touches_slow;
  std::size_t rows;
  std::int64_t fast_latency;
  std::int64_t slow_latency;
  const std::int64_t* ready_in;   // rows + 1 entries each
  const std::int64_t* ready_out;
};

struct Access {
  std::int32_t row;
  std::int32_t buffer;
  std::int32_t use;             // which access of its buffer it is
  std::int32_t previous_write;  // use of the buffer that wrote it last before, or -1
  bool writes;
  bool moves;  // touches a memory: is no view
  Ticks fast;
  Ticks slow;
};

struct Buffer {
  std::int64_t size;
  bool has_copy;
  Ticks copy_in;
  Ticks copy_out;
  std::int32_t uses_begin;  // into MappingModel::use
  std::int32_t uses;
};

struct RowCost {
  Ticks arithmetic;
  Ticks overhead;
  Ticks other;       // memory time that is not decided here
  Ticks other_slow;  // the slow memory's part of it
  bool touches_fast;
  bool touches_slow;
};

struct MappingModel {
  std::int64_t capacity = 0;
  std::int64_t alignment = 1;
  Ticks fast_latency = 0;
  Ticks slow_latency = 0;
  std::vector<RowCost> rows;
  std::vector<Buffer> buffers;
  std::vector<Access> accesses;
  std::vector<std::int32_t> use;        // accesses by buffer
  // Last boundary at which a copy in may begin that moves bytes in row t; -1 if there is none.
  std::vector<std::int32_t> latest_in;
  std::vector<std::int32_t> ready_out;  // first row in which a copy out may move bytes
  std::vector<std::int32_t> row_begin;  // accesses of row t: [row_begin[t], row_begin[t + 1])

  const Access& access(std::int32_t buffer, std::int32_t which) const {
    return accesses[use[buffers[buffer].uses_begin + which]];
  }
  std::int32_t access_index(std::int32_t buffer, std::int32_t which) const {
    return use[buffers[buffer].uses_begin + which];
  }
};

// Says what is wrong with the arrays, or fills the model.
std::optional<std::string> build_model(const MappingArrays& arrays, MappingModel& model);

}  // namespace planner::mapping
