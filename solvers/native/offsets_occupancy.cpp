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
    : sections_(sections), cover_(tree_nodes(sections)), within_(tree_nodes(sections)) {}

void Occupancy::clear() {
  for (Intervals& list : cover_) list.clear();
  for (Intervals& list : within_) list.clear();
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

std::int64_t Occupancy::first_fit(std::int64_t size, std::int64_t alignment, std::int64_t from,
                                  std::int64_t shift) {
  cursors_.clear();
  auto add = [this](const Intervals& list) {
    if (!list.empty()) cursors_.push_back({list.data(), list.data() + list.size()});
  };
  for (std::size_t node : canonical_) add(within_[node]);
  for (std::size_t node : ancestors_) add(cover_[node]);

  // Each list pushes the candidate above what blocks it, until a full round moves nothing.
  std::int64_t offset = from + shift;
  std::size_t unmoved = 0;
  for (std::size_t k = 0; unmoved < cursors_.size(); k = (k + 1) % cursors_.size()) {
    Cursor& cursor = cursors_[k];
    ++work_;
    if (cursor.next != cursor.end && cursor.next->end <= offset) {
      cursor.next = std::partition_point(cursor.next, cursor.end, [offset](const Interval& busy) {
        return busy.end <= offset;
      });
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

std::int64_t Occupancy::best_fit(std::int64_t size, std::int64_t alignment) {
  merged_.clear();
  for (std::size_t node : canonical_) {
    merged_.insert(merged_.end(), within_[node].begin(), within_[node].end());
  }
  for (std::size_t node : ancestors_) {
    merged_.insert(merged_.end(), cover_[node].begin(), cover_[node].end());
  }
  std::sort(merged_.begin(), merged_.end(),
            [](const Interval& x, const Interval& y) { return x.begin < y.begin; });
  work_ += 4 * merged_.size();

  std::int64_t candidate = 0;
  std::int64_t best = -1;
  std::int64_t least_left = std::numeric_limits<std::int64_t>::max();
  for (const Interval& busy : merged_) {
    const std::int64_t left = busy.begin - candidate - size;
    if (left >= 0 && left < least_left) {
      best = candidate;
      least_left = left;
    }
    if (busy.end > candidate) candidate = round_up(busy.end, alignment);
  }
  return best >= 0 ? best : candidate;
}

void Occupancy::occupy(std::int64_t offset, std::int64_t size) {
  const Interval added{offset, offset + size};
  for (std::size_t node : canonical_) {
    insert(cover_[node], added);
    insert(within_[node], added);
  }
  for (std::size_t node : ancestors_) insert(within_[node], added);
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
