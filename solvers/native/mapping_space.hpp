// Which bytes of the fast memory are taken in which rows.
#pragma once

#include <cstdint>
#include <vector>

namespace planner::mapping {

// Blocks are rectangles: rows [start, end) by bytes [offset, offset + size).
class Space {
 public:
  explicit Space(std::int64_t capacity) : capacity_(capacity) {}

  // The offset of the smallest gap that holds `size` bytes in all the rows, the lowest of equal
  // ones; -1 if there is none.
  std::int64_t best_fit(std::int32_t start, std::int32_t end, std::int64_t size) const;

  // Whether the bytes are free in all the rows.
  bool is_free(std::int32_t start, std::int32_t end, std::int64_t offset, std::int64_t size) const;

  void add(std::int32_t id, std::int32_t start, std::int32_t end, std::int64_t offset,
           std::int64_t size);
  void remove(std::int32_t id, std::int64_t offset);

 private:
  struct Block {
    std::int64_t offset;
    std::int64_t end;
    std::int32_t start_row;
    std::int32_t end_row;
    std::int32_t id;
  };

  std::vector<Block>::iterator at_or_above(std::int64_t offset);

  std::int64_t capacity_;
  std::vector<Block> blocks_;  // by offset: looking at all of them beats keeping lists per row
};

}  // namespace planner::mapping
