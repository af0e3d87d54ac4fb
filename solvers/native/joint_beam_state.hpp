// What a beam knows of an order's beginning, and what follows from it for the next operators.
#pragma once

#include <cstdint>
#include <vector>

#include "joint_model.hpp"

namespace planner::joint {

using Bits = std::vector<std::uint64_t>;

inline bool has(const Bits& bits, std::int32_t i) { return bits[index(i) >> 6] >> (i & 63) & 1; }
inline void add(Bits& bits, std::int32_t i) {
  bits[index(i) >> 6] |= std::uint64_t{1} << (i & 63);
}
inline void remove(Bits& bits, std::int32_t i) {
  bits[index(i) >> 6] &= ~(std::uint64_t{1} << (i & 63));
}

struct State {
  Bits done, resident, copied;
  std::vector<std::int32_t> ready;
  std::int64_t due = 0;   // traffic so far, and of one read of everything absent
  std::int64_t used = 0;  // bytes resident
  std::int64_t live = 0;  // bytes resident or absent
  std::int32_t trace = -1;
};

State first_state(const JointModel& model);

// Whether a storage is alive, or was.
bool has_begun(const JointModel& model, const Bits& done, std::int32_t s);

// Whether storage s is of no use any more once v has run as well.
bool dies_with(const JointModel& model, const Bits& done, std::int32_t s, std::int32_t v);

bool is_ready(const JointModel& model, const Bits& done, std::int32_t v);

// Whether operators from v on, each ready through the one before, move nothing and leave no more
// bytes alive than before. Little speaks for running others first.
bool begins_safe_chain(const JointModel& model, const State& state, std::int32_t v);

}  // namespace planner::joint
