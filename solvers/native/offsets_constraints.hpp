// First fit for buffers with fixed offsets, gaps, windows and rules for pairs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "control.hpp"
#include "offsets_instance.hpp"
#include "offsets_occupancy.hpp"

namespace planner::offsets {

// So many buffers may be compared with all others, one by one, without costing too much.
constexpr std::size_t kLooseLimit = 2'000;

// Places buffers one by one in a given order, the fixed ones before all others.
//
// Rectangles are kept in an Occupancy. Of two buffers that a rule allows more than their uses do,
// neither is: these **loose** ones are compared with every other buffer, one by one. Not so where
// all rules are overwrites: then a buffer is tried where those lie that it may share an offset
// with, and the section that they have in common is looked at once.
class ConstrainedDecoder {
 public:
  // Refers to the instance. With more loose buffers than the limit none is: then what rules allow
  // beyond the uses is not made use of, except in overwrites.
  ConstrainedDecoder(const Instance& instance, std::size_t loose_limit);

  // Returns the height, or something not below `limit` as soon as that is certain, when stopped, or
  // when the work allowed is used up. Without a control it always comes to its end. Fixed offsets
  // may not clash.
  std::int64_t run(const std::vector<std::int32_t>& order, bool best_fit, std::int64_t limit,
                   std::uint64_t work_limit, Control* control);

  // Puts the buffers where they are said to be, up to the first that may not be there; -1 if all
  // may.
  std::int32_t first_clash(const std::vector<std::int32_t>& order,
                           const std::vector<std::int64_t>& offsets);

  const std::vector<std::int64_t>& offsets() const { return offsets_; }
  std::uint64_t work() const { return occupancy_.work() + work_; }

 private:
  void clear();
  std::int64_t first_fit(std::size_t buffer, std::int64_t from);
  bool plain(std::size_t buffer) const;
  std::int64_t above_rules(std::size_t buffer, std::int64_t offset);
  std::int64_t above_loose(std::size_t buffer, std::int64_t offset);
  void put(std::size_t buffer, std::int64_t offset);
  std::optional<std::pair<std::int32_t, std::int32_t>> sections_beside_overwrites(
      std::size_t buffer, std::int64_t offset) const;
  bool may_overwrite(std::size_t buffer, std::int64_t offset);
  std::int64_t lowest_overwrite(std::size_t buffer);
  void put_beside_overwrites(std::size_t buffer, std::int64_t offset);

  const Instance& instance_;
  Occupancy occupancy_;
  const bool overwrites_;  // are tried where their partners lie, and none of them is loose
  std::vector<std::int64_t> offsets_;
  std::vector<char> placed_, loose_;
  std::vector<std::int32_t> placed_loose_;
  std::uint64_t work_ = 0;
};

// Two buffers whose fixed offsets exclude each other, if there are any.
std::optional<std::pair<std::int32_t, std::int32_t>> clashing_pins(const Instance& instance);

// Whether the offsets are a packing.
bool is_packing(const Instance& instance, const std::vector<std::int64_t>& offsets);

}  // namespace planner::offsets
