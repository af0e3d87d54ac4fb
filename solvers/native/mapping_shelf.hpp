// Bytes of the fast memory that are held until when: occupancy in program order.
#pragma once

#include <cstdint>
#include <vector>

namespace planner::mapping {

// Blocks that begin at or before the row in turn, by offset. As all of them do, a block shares a
// row with [from, row in turn] or later exactly if it ends after `from`.
class Shelf {
 public:
  explicit Shelf(std::int64_t capacity) : capacity_(capacity) {}

  // The offset of the smallest gap that holds `size` bytes among the blocks that end after `from`,
  // the lowest of equal ones; -1 if there is none.
  std::int64_t best_fit(std::int32_t from, std::int64_t size) const;

  // Whether no block but `id` that ends after `from` has a byte in [offset, offset + size).
  bool is_free(std::int32_t from, std::int64_t offset, std::int64_t size, std::int32_t id) const;

  void add(std::int32_t id, std::int32_t end, std::int64_t offset, std::int64_t size);
  void hold_until(std::int32_t id, std::int64_t offset, std::int32_t end);

  // Forgets blocks that end at or before `row`.
  void forget(std::int32_t row);

  std::size_t size() const { return blocks_.size(); }

 private:
  struct Block {
    std::int64_t offset;
    std::int64_t top;
    std::int32_t end;
    std::int32_t id;
  };

  std::int64_t capacity_;
  std::vector<Block> blocks_;
};

}  // namespace planner::mapping
