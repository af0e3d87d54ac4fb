// Exact best-first search over order and residency together.
#pragma once

#include <cstdint>
#include <deque>
#include <limits>
#include <memory>
#include <optional>
#include <queue>
#include <vector>

#include "control.hpp"
#include "joint_residency.hpp"
#include "joint_search_chains.hpp"
#include "joint_search_cuts.hpp"
#include "joint_search_exchange.hpp"
#include "order_search.hpp"

namespace planner::joint {

// A state is (D, O, C): operators done, live storages absent, live storages with a copy that had
// to be written (O in C, unless a copy was there from the start). Its *spent* bytes are the traffic
// so far and one read of every absent storage, which cannot be avoided: a live storage is used once
// more, or kept. So running an operator costs nothing but its evictions.
//
// Evictions happen only where the next operator does not fit, and only sets without a superfluous
// member: any other can be put off to the first operator that needs it; see also Exchange. States
// with equal D are compared: (spent1, O1, C1) is no worse than (spent2, O2, C2) if
//     spent1 + size(O2 \ O1) + write(C2 \ C1) <= spent2,
// as it may do what the other has done, drop O2 \ O1 and read O1 \ O2 (which is in spent1).
//
// The level of a state is the largest bound on the completions along its way: spent + due (see
// Cuts), and at least the level of the start. States come off the queue by level, the most
// operators done first among equals; the level on top bounds the optimum from below at any time.
// Children of a higher level than their parent's are made when that level is due: the parent waits
// in the queue in their place.
class JointSearch {
 public:
  enum class Progress { kSolved, kLimit, kStopped };

  // For the operators from where `residency` stands, with everything live resident and not copied,
  // up to last - 1: those before are done. Looks for traffic below `upper`; values below `level`
  // are not told apart. `chains` are those of `residency`; both are the search's for its life.
  JointSearch(const JointModel& model, Residency& residency, SafeChains& chains, std::int32_t last,
              const std::vector<std::vector<std::int32_t>>& cuts, std::int64_t level,
              std::int64_t upper, std::int64_t memory_bytes);

  Progress run(Control& control);

  // A bound on the optimum, or `upper` if there is proof of nothing below it.
  std::int64_t bound() const;
  // When solved: the traffic of order(); none if there is nothing below `upper`.
  std::optional<std::int64_t> traffic() const;
  // The operators in the order of the cheapest way found.
  std::vector<std::int32_t> order();

  std::int64_t states() const { return static_cast<std::int64_t>(states_.size()); }
  std::int64_t expanded() const { return expanded_; }

 private:
  struct State {
    std::int64_t spent, level;
    std::int64_t made;    // children up to this level exist
    std::int64_t weight;  // size(O) + write(C)
    const std::int32_t* storages;  // absent ones, copied ones, those that left on the way here
    std::int32_t absent, copied, left;
    std::uint32_t downset;
    std::uint32_t next;  // of the same downset
    std::int32_t parent, chosen;
    bool dominated;
  };
  struct Entry {
    std::int64_t level, used;
    std::int32_t done;
    std::uint32_t id;
    bool operator<(const Entry& other) const;  // less urgent
  };
  struct Slot {
    std::uint32_t tag;  // upper half of the hash
    std::uint32_t downset;
  };
  static constexpr std::uint32_t kNone = 0xFFFFFFFFu;
  static constexpr std::int64_t kInfinite = std::numeric_limits<std::int64_t>::max();
  static constexpr std::size_t kBlock = std::size_t{1} << 14;

  bool full() const;
  bool expand(std::uint32_t id, std::int64_t level, Control& control);
  bool evict_and_try(std::size_t i, std::int64_t shortage, std::int64_t spent, std::int64_t due,
                     Control& control);
  void choose_candidates(std::int32_t v);
  void try_child(std::int64_t spent, std::int64_t due, const Hits& hits);
  void visit(std::int64_t spent, std::int64_t level, const Hits& hits, std::int32_t chosen,
             std::int32_t parent);
  void move_to(std::uint32_t id);
  std::uint32_t downset_here();
  void grow_table();
  const std::int32_t* store_storages();
  Hits hits_of(std::uint32_t id) const;

  const JointModel& model_;
  const std::int32_t last_;
  std::int64_t upper_;
  const std::int64_t memory_bytes_;
  Residency& residency_;
  SafeChains& chains_;
  Cuts cuts_;
  Exchange exchange_;
  Bits target_;
  order::BitsStore bits_;
  std::vector<std::uint32_t> newest_;  // of a downset: its states are linked from here
  std::vector<Slot> table_;            // open addressing, at most half full
  std::deque<State> states_;
  std::vector<std::unique_ptr<std::int32_t[]>> blocks_;  // of State::storages
  std::size_t block_free_ = 0;
  std::size_t block_size_ = 0;
  std::int64_t block_bytes_ = 0;
  std::deque<std::uint64_t> hits_;  // of each state, Cuts::words() words
  std::priority_queue<Entry> queue_;
  std::int64_t expanded_ = 0;
  std::int32_t best_ = -1;
  std::vector<std::int32_t> settled_;  // what runs before the first state

  // Of the state being expanded.
  std::int32_t parent_ = -1;
  std::int32_t chosen_ = -1;
  std::int64_t level_ = 0;       // of the parent
  std::int64_t made_ = 0;        // children up to here exist
  std::int64_t limit_ = 0;       // children up to here are made now
  std::int64_t next_level_ = 0;  // of the children that are not
  bool sorted_ = false;
  std::vector<std::int32_t> children_, evicted_;
  std::vector<std::int32_t> live_sorted_;  // by Exchange, if sorted_
  std::vector<char> leaves_;               // of live_sorted_: leaves already, or may not leave
  std::vector<std::int32_t> candidates_;   // places in live_sorted_
  std::vector<std::int64_t> bytes_from_;  // of the candidates from the i-th on
  std::vector<Hits> hits_at_;             // by number of evictions
  std::vector<std::int32_t> absent_here_, copied_here_;
};

}  // namespace planner::joint
