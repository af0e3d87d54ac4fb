#include "offsets_skyline.hpp"

#include <algorithm>
#include <cstddef>
#include <limits>
#include <numeric>
#include <utility>

namespace planner::offsets {
namespace {

// Buffers whose lowest offsets differ by less than this fraction of the smallest size count as
// equally low: none of them fits below another.
constexpr double kStep = 0.3;
constexpr std::int64_t kMostSteps = 16'384;  // up to the lower bound

// Whoever could lie only above so many times the lower bound stays out.
constexpr std::int64_t kHighest = 2;

std::size_t leaves_for(std::int32_t sections) {
  std::size_t leaves = 1;
  while (leaves < static_cast<std::size_t>(sections)) leaves *= 2;
  return leaves;
}

// The highest top in each section, for placements that never lie below what is there.
class Tops {
 public:
  explicit Tops(std::int32_t sections)
      : leaves_(leaves_for(sections)), nodes_(2 * leaves_, Node{0, 0}) {}

  void raise(std::int32_t first, std::int32_t end, std::int64_t top) {
    for_each_canonical(first, end, [this, top](std::size_t k) { nodes_[k] = {top, top}; });
    for_each_ancestor(first, end, [this, top](std::size_t k) {
      nodes_[k].highest = std::max(nodes_[k].highest, top);
    });
  }

  std::int64_t highest(std::int32_t first, std::int32_t end) const {
    std::int64_t highest = 0;
    for_each_canonical(first, end, [this, &highest](std::size_t k) {
      highest = std::max(highest, nodes_[k].highest);
    });
    for_each_ancestor(first, end, [this, &highest](std::size_t k) {
      highest = std::max(highest, nodes_[k].whole);
    });
    return highest;
  }

 private:
  struct Node {
    std::int64_t highest;  // top in any section of the node
    std::int64_t whole;    // top in all sections of the node, at least
  };

  template <class Visit>
  void for_each_canonical(std::int32_t first, std::int32_t end, Visit visit) const {
    std::size_t l = leaves_ + static_cast<std::size_t>(first);
    std::size_t r = leaves_ + static_cast<std::size_t>(end);
    for (; l < r; l /= 2, r /= 2) {
      if (l % 2 == 1) visit(l++);
      if (r % 2 == 1) visit(--r);
    }
  }

  // Of the first and the last section.
  template <class Visit>
  void for_each_ancestor(std::int32_t first, std::int32_t end, Visit visit) const {
    std::size_t l = (leaves_ + static_cast<std::size_t>(first)) / 2;
    std::size_t r = (leaves_ + static_cast<std::size_t>(end) - 1) / 2;
    for (; l != r; l /= 2, r /= 2) {
      visit(l);
      visit(r);
    }
    for (; l > 0; l /= 2) visit(l);
  }

  std::size_t leaves_;
  std::vector<Node> nodes_;
};

// Bytes still to be placed in each section.
class Remaining {
 public:
  explicit Remaining(std::int32_t sections)
      : leaves_(leaves_for(sections)), nodes_(2 * leaves_, Node{0, 0}) {}

  void add(std::int32_t first, std::int32_t end, std::int64_t bytes) {
    std::size_t l = leaves_ + static_cast<std::size_t>(first);
    std::size_t r = leaves_ + static_cast<std::size_t>(end);
    const std::size_t leftmost = l;
    const std::size_t rightmost = r - 1;
    for (; l < r; l /= 2, r /= 2) {
      if (l % 2 == 1) add_to_whole(l++, bytes);
      if (r % 2 == 1) add_to_whole(--r, bytes);
    }
    update_ancestors(leftmost);
    update_ancestors(rightmost);
  }

  std::int64_t most(std::int32_t first, std::int32_t end) const {
    std::size_t l = leaves_ + static_cast<std::size_t>(first);
    std::size_t r = leaves_ + static_cast<std::size_t>(end);
    // The canonical nodes met so far lie under l - 1 and under r.
    std::int64_t left = kNone;
    std::int64_t right = kNone;
    while (l < r) {
      if (l % 2 == 1) left = std::max(left, nodes_[l++].most);
      if (r % 2 == 1) right = std::max(right, nodes_[--r].most);
      l /= 2;
      r /= 2;
      if (left != kNone) left += nodes_[l - 1].whole;
      if (right != kNone) right += nodes_[r].whole;
    }
    if (left != kNone) {
      for (std::size_t k = (l - 1) / 2; k > 0; k /= 2) left += nodes_[k].whole;
    }
    if (right != kNone) {
      for (std::size_t k = r / 2; k > 0; k /= 2) right += nodes_[k].whole;
    }
    return std::max(left, right);
  }

 private:
  static constexpr std::int64_t kNone = std::numeric_limits<std::int64_t>::min();

  struct Node {
    std::int64_t most;   // in a section of the node, but for what its ancestors add
    std::int64_t whole;  // in all sections of the node
  };

  void add_to_whole(std::size_t k, std::int64_t bytes) {
    nodes_[k].most += bytes;
    nodes_[k].whole += bytes;
  }

  void update_ancestors(std::size_t k) {
    for (k /= 2; k > 0; k /= 2) {
      nodes_[k].most = std::max(nodes_[2 * k].most, nodes_[2 * k + 1].most) + nodes_[k].whole;
    }
  }

  std::size_t leaves_;
  std::vector<Node> nodes_;
};

// The largest buffers with the given share of the area; the longer they live, the earlier.
std::vector<std::int32_t> largest_by_span(const Instance& instance, double share) {
  const auto at = [](std::int32_t v) { return static_cast<std::size_t>(v); };
  std::vector<std::int32_t> buffers(instance.buffers());
  std::iota(buffers.begin(), buffers.end(), 0);
  std::sort(buffers.begin(), buffers.end(), [&](std::int32_t u, std::int32_t v) {
    if (instance.padded_size[at(u)] != instance.padded_size[at(v)]) {
      return instance.padded_size[at(u)] > instance.padded_size[at(v)];
    }
    if (instance.span(at(u)) != instance.span(at(v))) {
      return instance.span(at(u)) > instance.span(at(v));
    }
    return u < v;
  });
  const auto area = [&](std::int32_t v) {
    return static_cast<double>(instance.padded_size[at(v)]) * instance.span(at(v));
  };
  double whole = 0.0;
  for (std::int32_t v : buffers) whole += area(v);
  double taken = 0.0;
  std::size_t count = 0;
  while (count < buffers.size() && taken < share * whole) taken += area(buffers[count++]);
  buffers.resize(count);
  std::sort(buffers.begin(), buffers.end(), [&](std::int32_t u, std::int32_t v) {
    if (instance.span(at(u)) != instance.span(at(v))) {
      return instance.span(at(u)) > instance.span(at(v));
    }
    if (instance.padded_size[at(u)] != instance.padded_size[at(v)]) {
      return instance.padded_size[at(u)] > instance.padded_size[at(v)];
    }
    return u < v;
  });
  return buffers;
}

// Buffers that may be placed next: where they could lie and the most bytes left in a section of
// theirs, when last looked at. The first can only rise and the second only fall, so whoever stays
// first is the one to place.
struct Candidate {
  std::int64_t remaining;
  std::int32_t rank;  // by span

  bool operator<(const Candidate& other) const {  // whether it is placed later
    return remaining != other.remaining ? remaining < other.remaining : rank > other.rank;
  }
};

}  // namespace

Skyline pack_by_skyline(const Instance& instance, double share, std::uint64_t work_limit,
                        Control& control) {
  Skyline skyline;
  skyline.offsets.assign(instance.buffers(), -1);
  const std::vector<std::int32_t> by_rank = largest_by_span(instance, share);
  const Instance large = subset(instance, by_rank);  // has fewer sections
  Tops tops(large.sections);
  Remaining remaining(large.sections);
  std::int64_t smallest = instance.lower_bound;
  for (std::size_t v = 0; v < large.buffers(); ++v) {
    remaining.add(large.first_section[v], large.end_section[v], large.padded_size[v]);
    smallest = std::min(smallest, large.padded_size[v]);
  }
  const std::int64_t step = std::max<std::int64_t>(
      {1, static_cast<std::int64_t>(kStep * static_cast<double>(smallest)),
       instance.lower_bound / kMostSteps});
  std::vector<std::vector<Candidate>> levels(1);
  for (std::size_t v = 0; v < large.buffers(); ++v) {
    levels[0].push_back({remaining.most(large.first_section[v], large.end_section[v]),
                         static_cast<std::int32_t>(v)});
  }
  for (std::size_t level = 0; level < levels.size(); ++level) {
    std::vector<Candidate> candidates = std::move(levels[level]);
    std::make_heap(candidates.begin(), candidates.end());
    while (!candidates.empty()) {
      if (++skyline.work > work_limit || control.stop()) return skyline;
      std::pop_heap(candidates.begin(), candidates.end());
      Candidate& next = candidates.back();
      const auto v = static_cast<std::size_t>(next.rank);
      const std::int32_t first = large.first_section[v];
      const std::int32_t end = large.end_section[v];
      const std::int64_t lowest = round_up(tops.highest(first, end), large.alignment[v]);
      const auto own_level = static_cast<std::size_t>(lowest / step);
      if (own_level > level) {
        if (lowest < kHighest * instance.lower_bound) {
          if (levels.size() <= own_level) levels.resize(own_level + 1);
          levels[own_level].push_back(next);
        }
        candidates.pop_back();
        continue;
      }
      const std::int64_t most = remaining.most(first, end);
      if (most < next.remaining) {
        next.remaining = most;
        std::push_heap(candidates.begin(), candidates.end());
        continue;
      }
      candidates.pop_back();
      skyline.offsets[static_cast<std::size_t>(by_rank[v])] = lowest;
      tops.raise(first, end, lowest + large.padded_size[v]);
      remaining.add(first, end, -large.padded_size[v]);
    }
  }
  return skyline;
}

}  // namespace planner::offsets
