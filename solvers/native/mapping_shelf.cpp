#include "mapping_shelf.hpp"

#include <algorithm>

namespace planner::mapping {

std::int64_t Shelf::best_fit(std::int32_t from, std::int64_t size) const {
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
    if (block.end <= from) continue;
    if (block.offset > reached) consider(block.offset);
    reached = std::max(reached, block.top);
  }
  consider(capacity_);
  return best;
}

bool Shelf::is_free(std::int32_t from, std::int64_t offset, std::int64_t size,
                    std::int32_t id) const {
  return std::none_of(blocks_.begin(), blocks_.end(), [&](const Block& block) {
    return block.end > from && block.id != id && block.offset < offset + size &&
           block.top > offset;
  });
}

void Shelf::add(std::int32_t id, std::int32_t end, std::int64_t offset, std::int64_t size) {
  const auto at = std::lower_bound(
      blocks_.begin(), blocks_.end(), offset,
      [](const Block& block, std::int64_t value) { return block.offset < value; });
  blocks_.insert(at, {offset, offset + size, end, id});
}

void Shelf::hold_until(std::int32_t id, std::int64_t offset, std::int32_t end) {
  auto at = std::lower_bound(
      blocks_.begin(), blocks_.end(), offset,
      [](const Block& block, std::int64_t value) { return block.offset < value; });
  while (at->id != id) ++at;
  at->end = std::max(at->end, end);
}

void Shelf::forget(std::int32_t row) {
  blocks_.erase(std::remove_if(blocks_.begin(), blocks_.end(),
                               [row](const Block& block) { return block.end <= row; }),
                blocks_.end());
}

}  // namespace planner::mapping
