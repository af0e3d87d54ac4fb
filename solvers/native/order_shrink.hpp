// Operators whose place at the beginning or at the end is settled once a level is allowed.
#pragma once

#include <cstdint>

#include "control.hpp"
#include "order_heuristics.hpp"
#include "order_model.hpp"

namespace planner::order {

struct Settled {
  Order prefix;  // some order that is best among those within the level begins with these
  Order suffix;  // ... and ends with these
};

// The prefix are the safe chains from the empty downset (see Downset::close). The suffix are safe
// chains seen from the end: x1 has no successor left, each next operator has none but the one
// before, and the first k of them leave no more bytes live before than after. Moving such a
// chain X to the end of any order turns each downset E into E - X, where submodularity gives
// f(E - X) <= f(E). The transients of the other operators do not rise either, even where X holds
// starters or users of what they start or overwrite: a transient is f after the first half step
// of its operator (see order_climb.cpp), f is submodular on these, too, and X has whole operators.
//
// When the control says stop, the suffix may be shorter than it could be.
Settled settled_operators(const OrderModel& model, std::int64_t level, Control& control);

}  // namespace planner::order
