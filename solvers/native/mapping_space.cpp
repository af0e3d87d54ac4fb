#include "mapping_space.hpp"

#include <algorithm>

namespace planner::mapping {

Space::Space(std::int32_t rows, std::int64_t capacity)
    : capacity_(capacity), rows_(rows), starting_(rows) {}

std::int64_t Space::best_fit(std::int32_t start, std::int32_t end, std::int64_t size) {
  const auto by_offset = [](const Block& a, const Block& b) { return a.offset < b.offset; };
  gathered_.assign(rows_[start].begin(), rows_[start].end());
  const auto sorted = static_cast<std::ptrdiff_t>(gathered_.size());
  for (std::int32_t row = start + 1; row < end; ++row) {
    gathered_.insert(gathered_.end(), starting_[row].begin(), starting_[row].end());
  }
  std::sort(gathered_.begin() + sorted, gathered_.end(), by_offset);
  std::inplace_merge(gathered_.begin(), gathered_.begin() + sorted, gathered_.end(), by_offset);
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
  for (const Block& block : gathered_) {
    if (block.offset > reached) consider(block.offset);
    reached = std::max(reached, block.end);
  }
  consider(capacity_);
  return best;
}

void Space::add(std::int32_t id, std::int32_t start, std::int32_t end, std::int64_t offset,
                std::int64_t size) {
  const Block block{offset, offset + size, id, start};
  for (std::int32_t row = start; row < end; ++row) {
    auto& blocks = rows_[row];
    const auto at = std::lower_bound(
        blocks.begin(), blocks.end(), offset,
        [](const Block& other, std::int64_t value) { return other.offset < value; });
    blocks.insert(at, block);
  }
  starting_[start].push_back(block);
}

void Space::remove(std::int32_t id, std::int32_t start, std::int32_t end) {
  const auto is_it = [id](const Block& block) { return block.id == id; };
  for (std::int32_t row = start; row < end; ++row) {
    auto& blocks = rows_[row];
    blocks.erase(std::find_if(blocks.begin(), blocks.end(), is_it));
  }
  auto& blocks = starting_[start];
  blocks.erase(std::find_if(blocks.begin(), blocks.end(), is_it));
}

void Space::crossing(std::int32_t start, std::int32_t end, std::vector<std::int32_t>& ids) const {
  for (const Block& block : rows_[start]) ids.push_back(block.id);
  for (std::int32_t row = start + 1; row < end; ++row) {
    for (const Block& block : starting_[row]) ids.push_back(block.id);
  }
}

}  // namespace planner::mapping
