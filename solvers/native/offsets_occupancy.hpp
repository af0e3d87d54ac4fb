// Which bytes are busy in which sections: a segment tree of byte intervals.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace planner::offsets {

// Finds free bytes for one buffer after the other without a conflict graph.
//
// Each node of the tree over the sections keeps two lists of disjoint, ascending byte intervals:
// `cover`, busy because of buffers that cover the whole node, and `within`, busy at any time inside
// the node. The bytes busy during a range of sections are the union of `within` over the range's
// canonical nodes and `cover` over their proper ancestors.
class Occupancy {
 public:
  explicit Occupancy(std::int32_t sections);

  void clear();

  // Chooses the sections [first, end) that the next calls are about.
  void select(std::int32_t first, std::int32_t end);

  // Lowest multiple of `alignment`, from `from` on, at which `size` bytes are free in the selected
  // sections; they begin `shift` bytes above it. `from` is a multiple of the alignment.
  std::int64_t first_fit(std::int64_t size, std::int64_t alignment, std::int64_t from = 0,
                         std::int64_t shift = 0);

  // As first_fit, but in the gap that leaves the fewest bytes around the buffer; the lowest of
  // several, and above everything if no gap is wide enough. With unequal alignments the rule is
  // TensorFlow Lite's: what a gap leaves above the buffer is compared with all that the best one
  // so far leaves, padding below the buffer included.
  std::int64_t best_fit(std::int64_t size, std::int64_t alignment);

  // Marks `size` bytes from `offset` busy in the selected sections.
  void occupy(std::int64_t offset, std::int64_t size);

  // Intervals looked at since the construction: a machine-independent measure of the work done.
  std::uint64_t work() const { return work_; }

 private:
  struct Interval {
    std::int64_t begin, end;
  };
  using Intervals = std::vector<Interval>;
  struct Node {
    Intervals cover, within;
  };
  struct Cursor {
    const Interval* begin;
    const Interval* next;  // the first that ends above the candidate, once that has settled
    const Interval* end;
  };

  void descend(std::size_t node, std::int32_t node_first, std::int32_t node_end,
               std::int32_t first, std::int32_t end);
  void start_cursors();
  std::int64_t next_fit(std::int64_t from, std::int64_t size, std::int64_t alignment,
                        std::int64_t shift);
  Interval gap_around_fit() const;
  void insert(Intervals& list, Interval added);

  std::int32_t sections_;
  std::vector<Node> nodes_;
  std::vector<std::size_t> canonical_, ancestors_;  // nodes of the selected range
  std::vector<Cursor> cursors_;
  std::uint64_t work_ = 0;
};

}  // namespace planner::offsets
