#include "offsets_sweep.hpp"

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <map>
#include <numeric>
#include <set>
#include <utility>

namespace planner::offsets {
namespace {

// Gaps that are long enough but might not be once aligned, tried before one that is for sure.
constexpr int kDoubtfulGaps = 8;

// Free gaps below the end of what is in use, by address and by length.
class FreeList {
 public:
  std::int64_t allocate(std::int64_t size, std::int64_t alignment) {
    auto gap = by_length_.lower_bound({size, 0});
    for (int k = 0; k < kDoubtfulGaps && gap != by_length_.end(); ++k, ++gap) {
      const std::int64_t offset = round_up(gap->second, alignment);
      if (offset + size <= gap->second + gap->first) return take(*gap, offset, size);
    }
    gap = by_length_.lower_bound({size + alignment - 1, 0});
    if (gap != by_length_.end()) return take(*gap, round_up(gap->second, alignment), size);
    const std::int64_t offset = round_up(end_, alignment);
    if (offset > end_) add(end_, offset);
    end_ = offset + size;
    return offset;
  }

  void release(std::int64_t offset, std::int64_t size) {
    std::int64_t begin = offset;
    std::int64_t end = offset + size;
    auto next = by_address_.lower_bound(offset);
    if (next != by_address_.end() && next->first == end) {
      end = next->second;
      next = remove(next);
    }
    if (next != by_address_.begin() && std::prev(next)->second == begin) {
      begin = std::prev(next)->first;
      remove(std::prev(next));
    }
    if (end == end_) {
      end_ = begin;
    } else {
      add(begin, end);
    }
  }

 private:
  using ByAddress = std::map<std::int64_t, std::int64_t>;  // begin -> end
  using Gap = std::pair<std::int64_t, std::int64_t>;       // length, begin

  void add(std::int64_t begin, std::int64_t end) {
    by_address_[begin] = end;
    by_length_.insert({end - begin, begin});
  }

  ByAddress::iterator remove(ByAddress::iterator gap) {
    by_length_.erase({gap->second - gap->first, gap->first});
    return by_address_.erase(gap);
  }

  std::int64_t take(Gap gap, std::int64_t offset, std::int64_t size) {
    const auto [length, begin] = gap;
    remove(by_address_.find(begin));
    if (begin < offset) add(begin, offset);
    if (offset + size < begin + length) add(offset + size, begin + length);
    return offset;
  }

  ByAddress by_address_;
  std::set<Gap> by_length_;
  std::int64_t end_ = 0;
};

}  // namespace

std::vector<std::int64_t> pack_by_sweep(const Instance& instance) {
  const std::size_t n = instance.buffers();
  std::vector<std::int32_t> starting(n);
  std::iota(starting.begin(), starting.end(), 0);
  std::vector<std::int32_t> ending = starting;
  const auto at = [](std::int32_t v) { return static_cast<std::size_t>(v); };
  std::sort(starting.begin(), starting.end(), [&](std::int32_t u, std::int32_t v) {
    if (instance.lower[at(u)] != instance.lower[at(v)]) {
      return instance.lower[at(u)] < instance.lower[at(v)];
    }
    if (instance.size[at(u)] != instance.size[at(v)]) {
      return instance.size[at(u)] > instance.size[at(v)];
    }
    return u < v;
  });
  std::stable_sort(ending.begin(), ending.end(), [&](std::int32_t u, std::int32_t v) {
    return instance.upper[at(u)] < instance.upper[at(v)];
  });
  std::vector<std::int64_t> offsets(n);
  FreeList free_list;
  std::size_t ended = 0;
  for (std::int32_t v : starting) {
    for (; instance.upper[at(ending[ended])] <= instance.lower[at(v)]; ++ended) {
      const std::size_t u = at(ending[ended]);
      free_list.release(offsets[u], instance.padded_size[u]);
    }
    offsets[at(v)] = free_list.allocate(instance.padded_size[at(v)], instance.alignment[at(v)]);
  }
  return offsets;
}

}  // namespace planner::offsets
