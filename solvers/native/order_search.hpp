// Exact best-first search over downsets.
#pragma once

#include <cstdint>
#include <deque>
#include <limits>
#include <memory>
#include <optional>
#include <queue>
#include <vector>

#include "control.hpp"
#include "order_path.hpp"

namespace planner::order {

// Bitsets of equal length, numbered in the order in which they came. Operators are numbered
// topologically, so downsets are full up to some word and empty from another: only the words
// between are stored.
class BitsStore {
 public:
  void append(const Bits& bits);
  bool equal(std::uint32_t id, const Bits& bits) const;
  void read(std::uint32_t id, Bits& bits) const;  // `bits` has its length already
  std::int64_t bytes() const { return bytes_; }

 private:
  struct Window {
    const std::uint64_t* words;
    std::uint32_t first, last;  // half-open
  };
  static constexpr std::size_t kBlockWords = std::size_t{1} << 15;

  std::deque<Window> windows_;
  std::vector<std::unique_ptr<std::uint64_t[]>> blocks_;
  std::uint64_t* block_end_ = nullptr;  // of the last block
  std::size_t free_words_ = 0;          // before its end
  std::int64_t bytes_ = 0;
};

// A state is a downset with the level of a way to it: the largest transient so far, and at least
// the starting level. Levels never fall along a path, so the states come off the queue in order
// of level as in Dijkstra's algorithm, and the level on top of the queue is a lower bound on the
// peak at any time (and, once it exceeds the starting level, a bound in its own right). Among
// equal levels, more operators done, then fewer bytes live.
class OrderSearch {
 public:
  enum class Progress { kSolved, kLimit, kStopped };

  // Looks for an order with a peak below `upper`. Peaks below `level` are not told apart.
  OrderSearch(const OrderModel& model, std::int64_t level, std::int64_t upper, Rules rules,
              std::int64_t memory_bytes);

  // Goes on until solved, stopped, out of memory, or `expansions` more states are expanded.
  Progress run(std::int64_t expansions, Control& control);

  // When solved: the optimum, unless it is below the starting level.
  std::int64_t bound() const;
  // When solved without finding an order: no order has a peak below this, which is not below
  // `upper`. Raising the level to less than this would have opened no branch that was cut off.
  std::int64_t next_level() const { return next_level_; }
  // The best order found, if any had a peak below `upper`.
  std::optional<Order> order() const;

  // Out of memory.
  bool full() const;
  std::int64_t states() const { return static_cast<std::int64_t>(states_.size()); }
  std::int64_t expanded() const { return expanded_; }

 private:
  struct State {
    std::int64_t level;
    std::int64_t live;
    std::int32_t done;
    std::int32_t chosen;
    std::int32_t parent;  // -1 for the first
    bool expanded;
  };
  struct Entry {
    std::int64_t level;
    std::int64_t live;
    std::int32_t done;
    std::uint32_t id;
    bool operator<(const Entry& other) const;  // less urgent
  };
  struct Slot {
    std::uint32_t tag;  // upper half of the hash
    std::uint32_t id;
  };
  static constexpr std::uint32_t kEmpty = 0xFFFFFFFFu;

  void visit(std::int64_t level, std::int32_t chosen, std::int32_t parent);
  void announce(std::uint32_t id);
  bool expand(std::uint32_t id, Control& control);
  void drop_outdated();
  void grow_table();

  const OrderModel& model_;
  const std::int64_t start_level_;
  std::int64_t upper_;
  const Rules rules_;
  const std::int64_t memory_bytes_;
  Downset downset_;
  Bits target_;
  BitsStore bits_;
  std::deque<State> states_;
  std::vector<Slot> table_;  // open addressing, at most half full
  std::priority_queue<Entry> queue_;
  std::vector<std::int32_t> trail_, children_;
  std::int64_t expanded_ = 0;
  std::int64_t next_level_ = std::numeric_limits<std::int64_t>::max();  // of what was cut off
  std::int32_t best_ = -1;  // state with all operators done
};

}  // namespace planner::order
