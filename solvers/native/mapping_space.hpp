// Which bytes of the fast memory are taken in which rows.
#pragma once

#include <cstdint>
#include <vector>

namespace planner::mapping {

// Blocks are rectangles: rows [start, end) by bytes [offset, offset + size).
class Space {
 public:
  Space(std::int32_t rows, std::int64_t capacity);

  // The offset of the smallest gap that holds `size` bytes in all the rows, the lowest of equal
  // ones; -1 if there is none.
  std::int64_t best_fit(std::int32_t start, std::int32_t end, std::int64_t size);

  void add(std::int32_t id, std::int32_t start, std::int32_t end, std::int64_t offset,
           std::int64_t size);
  void remove(std::int32_t id, std::int32_t start, std::int32_t end);

  // Identities of the blocks that share a row with [start, end), each once, in a fixed order.
  void crossing(std::int32_t start, std::int32_t end, std::vector<std::int32_t>& ids) const;

 private:
  struct Block {
    std::int64_t offset;
    std::int64_t end;
    std::int32_t id;
    std::int32_t start_row;
  };

  std::int64_t capacity_;
  std::vector<std::vector<Block>> rows_;  // by offset
  std::vector<std::vector<Block>> starting_;
  std::vector<Block> gathered_;
};

}  // namespace planner::mapping
