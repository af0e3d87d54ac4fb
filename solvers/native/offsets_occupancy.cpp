#include "offsets_occupancy.hpp"

#include <algorithm>
#include <limits>

#include "offsets_instance.hpp"

namespace planner::offsets {
namespace {

// Intervals moved by an insertion that cost about as much as looking at one.
constexpr std::uint64_t kMovedPerWork = 16;

std::size_t tree_nodes(std::int32_t sections) {
  std::size_t leaves = 1;
  while (leaves < static_cast<std::size_t>(sections)) leaves *= 2;
  return 2 * leaves;
}

}  // namespace

Occupancy::Occupancy(std::int32_t sections)
    : sections_(sections), nodes_(tree_nodes(sections)) {}

void Occupancy::clear() {
  for (Node& node : nodes_) {
    node.cover.clear();
    node.within.clear();
  }
}

void Occupancy::select(std::int32_t first, std::int32_t end) {
  canonical_.clear();
  ancestors_.clear();
  descend(1, 0, sections_, first, end);
}

void Occupancy::descend(std::size_t node, std::int32_t node_first, std::int32_t node_end,
                        std::int32_t first, std::int32_t end) {
  if (first <= node_first && node_end <= end) {
    canonical_.push_back(node);
    return;
  }
  ancestors_.push_back(node);
  const std::int32_t middle = node_first + (node_end - node_first) / 2;
  if (first < middle) descend(2 * node, node_first, middle, first, end);
  if (middle < end) descend(2 * node + 1, middle, node_end, first, end);
}

void Occupancy::start_cursors() {
  cursors_.clear();
  auto add = [this](const Intervals& list) {
    if (!list.empty()) cursors_.push_back({list.data(), list.data(), list.data() + list.size()});
  };
  for (std::size_t node : ancestors_) add(nodes_[node].cover);
  for (std::size_t node : canonical_) add(nodes_[node].within);
}

// The lowest fit from `from` on, which never falls from call to call. Each list pushes the
// candidate above what blocks it, until a full round moves nothing.
std::int64_t Occupancy::next_fit(std::int64_t from, std::int64_t size, std::int64_t alignment,
                                 std::int64_t shift) {
  std::int64_t offset = round_up(from, alignment) + shift;
  std::size_t unmoved = 0;
  for (std::size_t k = 0; unmoved < cursors_.size(); k = k + 1 < cursors_.size() ? k + 1 : 0) {
    Cursor& cursor = cursors_[k];
    ++work_;
    if (cursor.next != cursor.end && cursor.next->end <= offset) {
      ++cursor.next;
      if (cursor.next != cursor.end && cursor.next->end <= offset) {
        cursor.next = std::partition_point(cursor.next, cursor.end, [offset](const Interval& busy) {
          return busy.end <= offset;
        });
      }
    }
    if (cursor.next == cursor.end || cursor.next->begin >= offset + size) {
      ++unmoved;
      continue;
    }
    unmoved = 1;
    while (cursor.next != cursor.end && cursor.next->begin < offset + size) {
      if (cursor.next->end > offset) {
        offset = round_up(cursor.next->end - shift, alignment) + shift;
      }
      ++cursor.next;
      ++work_;
    }
  }
  return offset - shift;
}

// The free bytes around an offset that next_fit has just returned.
Occupancy::Interval Occupancy::gap_around_fit() const {
  Interval gap{0, std::numeric_limits<std::int64_t>::max()};
  for (const Cursor& cursor : cursors_) {
    if (cursor.next != cursor.begin) gap.begin = std::max(gap.begin, cursor.next[-1].end);
    if (cursor.next != cursor.end) gap.end = std::min(gap.end, cursor.next->begin);
  }
  return gap;
}

std::int64_t Occupancy::first_fit(std::int64_t size, std::int64_t alignment, std::int64_t from,
                                  std::int64_t shift) {
  start_cursors();
  return next_fit(from, size, alignment, shift);
}

std::int64_t Occupancy::best_fit(std::int64_t size, std::int64_t alignment) {
  start_cursors();
  std::int64_t best = -1;
  std::int64_t narrowest = std::numeric_limits<std::int64_t>::max();
  for (std::int64_t from = 0; narrowest > size;) {
    const std::int64_t offset = next_fit(from, size, alignment, 0);
    const Interval gap = gap_around_fit();
    if (gap.end == std::numeric_limits<std::int64_t>::max()) return best >= 0 ? best : offset;
    if (gap.end - offset < narrowest) {
      best = offset;
      narrowest = gap.end - gap.begin;
    }
    from = gap.end;
  }
  return best;
}

void Occupancy::occupy(std::int64_t offset, std::int64_t size) {
  const Interval added{offset, offset + size};
  for (std::size_t node : canonical_) {
    insert(nodes_[node].cover, added);
    insert(nodes_[node].within, added);
  }
  for (std::size_t node : ancestors_) insert(nodes_[node].within, added);
}

void Occupancy::insert(Intervals& list, Interval added) {
  // [from, to) are the intervals that overlap or touch the new one; they become one with it.
  const auto from = std::partition_point(list.begin(), list.end(), [&added](const Interval& busy) {
    return busy.end < added.begin;
  });
  auto to = from;
  while (to != list.end() && to->begin <= added.end) {
    added.begin = std::min(added.begin, to->begin);
    added.end = std::max(added.end, to->end);
    ++to;
  }
  work_ += 1 + static_cast<std::uint64_t>(to - from) +
           static_cast<std::uint64_t>(list.end() - to) / kMovedPerWork;
  if (from == to) {
    list.insert(from, added);
  } else {
    *from = added;
    list.erase(from + 1, to);
  }
}

}  // namespace planner::offsets
