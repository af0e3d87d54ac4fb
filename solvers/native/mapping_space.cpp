#include "mapping_space.hpp"

#include <algorithm>

namespace planner::mapping {

std::int64_t Space::best_fit(std::int32_t start, std::int32_t end, std::int64_t size) const {
  std::int64_t best = -1;
  std::int64_t best_gap = 0;
  std::int64_t reached = 0;
  const auto consider = [&](std::int64_t until) {
    const std::int64_t gap = until - reached;
    if (gap >= size && (best < 0 || gap < best_gap)) {
      best = reached;
      best_gap = gap;
    }
  };
  for (const Block& block : blocks_) {
    if (block.start_row >= end || block.end_row <= start) continue;
    if (block.offset > reached) consider(block.offset);
    reached = std::max(reached, block.end);
  }
  consider(capacity_);
  return best;
}

bool Space::is_free(std::int32_t start, std::int32_t end, std::int64_t offset,
                    std::int64_t size) const {
  return std::none_of(blocks_.begin(), blocks_.end(), [&](const Block& block) {
    return block.start_row < end && block.end_row > start && block.offset < offset + size &&
           block.end > offset;
  });
}

std::vector<Space::Block>::iterator Space::at_or_above(std::int64_t offset) {
  return std::lower_bound(
      blocks_.begin(), blocks_.end(), offset,
      [](const Block& block, std::int64_t value) { return block.offset < value; });
}

void Space::add(std::int32_t id, std::int32_t start, std::int32_t end, std::int64_t offset,
                std::int64_t size) {
  blocks_.insert(at_or_above(offset), Block{offset, offset + size, start, end, id});
}

void Space::remove(std::int32_t id, std::int64_t offset) {
  auto block = at_or_above(offset);
  while (block->id != id) ++block;
  blocks_.erase(block);
}

}  // namespace planner::mapping
