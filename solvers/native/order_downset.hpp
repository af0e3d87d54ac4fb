// A downset (the set of operators that have run) that moves one operator at a time, with the live
// bytes, the ready operators and the safe chains at hand.
#pragma once

#include <cstdint>
#include <limits>
#include <vector>

#include "order_model.hpp"

namespace planner::order {

using Bits = std::vector<std::uint64_t>;

// The hash of a downset is the xor of the hashes of its words.
std::uint64_t hash_of_word(std::size_t word, std::uint64_t bits);

// Running v after D needs the transient  f(D) + charge(D, v) - gain(D, v),  where
//   charge: sizes of the storages that v starts and nothing in D has started (falls as D grows),
//   gain:   largest storage that v may overwrite and all other users of which are in D (grows),
// and leaves  f(D + v) = f(D) + charge(D, v) - freed(D, v). As an overwritten storage is freed,
// gain <= freed: the transient is never below f(D + v).
class Downset {
 public:
  explicit Downset(const OrderModel& model);

  const Bits& bits() const { return bits_; }
  std::uint64_t hash() const { return hash_; }
  std::int64_t live() const { return live_; }
  std::int32_t done() const { return done_; }
  const std::vector<std::int32_t>& ready() const { return ready_; }  // in no particular order
  bool is_ready(std::int32_t v) const { return position_[index(v)] >= 0; }
  bool contains(std::int32_t v) const { return bits_[index(v) >> 6] >> (v & 63) & 1; }

  std::int64_t transient(std::int32_t v) const { return live_ + charge(v) - gain(v); }
  std::int64_t growth(std::int32_t v) const { return charge(v) - freed(v); }

  void run(std::int32_t v);    // v is ready
  void unrun(std::int32_t v);  // v is in the downset and no successor of it is
  void move_to(const Bits& bits);

  // Runs every safe chain, the one that rises least first, and appends its operators to `trail`,
  // until there is none.
  //
  // A chain x1, ..., xk (x1 ready, each next operator ready only through the one before) is safe
  // at a level if its transients stay within the level and k is the first step after which no
  // more bytes are live than before x1. Some optimal completion begins with it: moving it to the
  // front of any completion turns each later downset E into E + X, where submodularity gives
  // f(E + X) <= f(E) + f(D + X) - f(E meet (D + X)) <= f(E), while charges fall and gains grow.
  //
  // Of several operators that could be next the chain takes the one that adds least. What is run
  // depends on the downset and the level only, so that a path can be replayed.
  void close(std::int64_t level, std::vector<std::int32_t>& trail);

  // The operators to run in one go if v, which is ready, is to run next, and the largest transient
  // on the way; kWaits if v need not run next. See order_climb.cpp.
  std::int64_t climb(std::int32_t v, std::vector<std::int32_t>& climb);
  static constexpr std::int64_t kWaits = std::numeric_limits<std::int64_t>::max();

 private:
  std::int64_t charge(std::int32_t v) const;
  std::int64_t gain(std::int32_t v) const;
  std::int64_t freed(std::int32_t v) const;
  void add_ready(std::int32_t v);
  void remove_ready(std::int32_t v);
  void flip(std::int32_t v);
  void count(std::int32_t v);
  void uncount(std::int32_t v);
  void invalidate_chain(std::int32_t x);
  void invalidate_chain_through(std::int32_t v);
  void invalidate_chains_sharing_with(std::int32_t v);
  std::int64_t follow_chain(std::int32_t x);
  void refresh_chains();
  void play_matches_of(std::int32_t v);
  std::int32_t better_of(std::int32_t a, std::int32_t b) const;
  void bound_steps();
  bool is_first_to_wait(std::int32_t v, std::int32_t q) const;

  // Longer chains are not looked for.
  static constexpr std::int32_t kChainLimit = 128;
  static constexpr std::int64_t kNoChain = std::numeric_limits<std::int64_t>::max();
  const OrderModel& model_;
  Bits bits_;
  std::uint64_t hash_ = 0;
  std::int64_t live_ = 0;
  std::int32_t done_ = 0;
  std::vector<std::int32_t> ready_;
  std::vector<std::int32_t> position_;      // in ready_, or -1
  std::vector<std::int32_t> missing_;       // predecessors outside
  std::vector<std::uint32_t> missing_sum_;  // sum of their indices: names the last one missing
  std::vector<std::int32_t> remaining_;     // users outside; one more if kept
  std::vector<std::int32_t> started_;       // starters inside; one more if there are none
  // Of a ready operator: how far the bytes rise above live() along its chain. Does not depend on
  // the level. kNoChain if the operator is not ready or has no chain.
  std::vector<std::int64_t> rise_;
  std::vector<std::int32_t> outdated_;  // operators whose rise_ may be wrong
  std::vector<char> is_outdated_;
  // A tournament: leaf v is operator v, a node holds the operator of the smaller rise below it,
  // the smaller index among equals, or -1 beyond the last operator. Node 1 is the root.
  std::vector<std::int32_t> winner_;
  // Of an operator, over all downsets: the least of charge - gain, and of growth.
  std::vector<std::int64_t> least_rise_, least_growth_;
  std::vector<std::int32_t> chain_;  // what follow_chain found
};

}  // namespace planner::order
