// First fit around fixed offsets.
#pragma once

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "control.hpp"
#include "offsets_instance.hpp"
#include "offsets_occupancy.hpp"

namespace planner::offsets {

// Places buffers one by one in a given order, the fixed ones before all others.
class ConstrainedDecoder {
 public:
  // Refers to the instance, whose fixed offsets may not clash.
  explicit ConstrainedDecoder(const Instance& instance);

  // As if all buffers of the order were placed by first fit, in turn; returns the height, or
  // something not below `limit` as soon as that is certain, when stopped, or when the work allowed
  // is used up. Without a control it always comes to its end.
  std::int64_t run(const std::vector<std::int32_t>& order, std::int64_t limit,
                   std::uint64_t work_limit, Control* control);

  const std::vector<std::int64_t>& offsets() const { return offsets_; }
  std::uint64_t work() const { return occupancy_.work(); }

 private:
  const Instance& instance_;
  Occupancy occupancy_;
  std::vector<std::int64_t> offsets_;
};

// Two buffers whose fixed offsets exclude each other, if there are any.
std::optional<std::pair<std::int32_t, std::int32_t>> clashing_pins(const Instance& instance);

}  // namespace planner::offsets
