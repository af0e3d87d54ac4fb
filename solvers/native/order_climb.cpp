// Climbs: operators that only prepare another one need not run long before it.
//
// Let C = (c1, ..., ck) be a chain in which c1 is ready, the only successor of each operator is the
// next one, and the only predecessor of each that has not run is the one before; let z be the only
// successor of ck. Suppose that, whatever else has run by then,
//   (a) after any part of C at least as many bytes are live as without C, and
//   (b) z rises at least as far above what is live without C as any operator of C does.
// Then C can be put off until right before z in any completion of D, and its peak does not grow:
//
// - Other operators now run without the c1, ..., ci that had run before. Count an operator as two
//   half steps, the start of its outputs, with the end of the operand it overwrites, and the end
//   of the rest: f is submodular on these, too, for each choice of operands, and a transient is f
//   after the first half. So (a), taken over half steps as well, covers the transients: the bounds
//   below hold for every downset, since they count what C frees at its most (each byte that some
//   other operator need not free later) and what C starts at its least (nothing that another may
//   start first).
// - An operator of C now runs at a larger downset. What it and those before it add there is no more
//   than at D, for growth and charge fall and gain grows; and by (b) z, which used to run and still
//   runs at the same downset, has a transient no smaller.
//
// So some best completion runs C right before z, and
// - if z is ready after C, then C and z make one branch: nothing is missed if what follows c1 is
//   run in one go (a climb);
// - if z misses other predecessors, c1 is no branch at all (it waits), as something else runs
//   first. Two chains that wait for the same z would wait for each other, so only the one
//   with the smallest c1 waits.
// All chains of a downset can be put off one after the other: they are disjoint, and none has the z
// of another one inside. What then runs first is a climb or a single operator, and by induction
// over the operators that are left the search that branches on these misses no optimum. Levels
// play no part, so that the rule goes together with safe chains.
#include <algorithm>
#include <vector>

#include "order_downset.hpp"

namespace planner::order {

namespace {

// With more operators than this the answer is no, without a look.
constexpr std::int32_t kMaxOperators = 256;

}  // namespace

void Downset::bound_steps() {
  std::vector<std::int32_t> last_before(index(model_.operators), -1);  // predecessor marked last
  for (std::int32_t v = 0; v < model_.operators; ++v) {
    for (const std::int32_t q : model_.successors[v]) last_before[index(q)] = v;
    const auto follows = [&](std::int32_t k) { return last_before[index(k)] == v; };
    const auto any_follows = [&](Span operators) {
      return operators.size() <= kMaxOperators &&
             std::any_of(operators.begin(), operators.end(), follows);
    };
    const auto all_others_follow = [&](Span operators) {
      return operators.size() <= kMaxOperators &&
             std::all_of(operators.begin(), operators.end(),
                         [&](std::int32_t k) { return k == v || follows(k); });
    };
    std::int64_t charged = 0;
    std::int64_t freed = 0;
    std::int64_t gain = 0;
    for (const std::int32_t s : model_.starts[v])
      if (all_others_follow(model_.starters[s])) charged += model_.size[index(s)];
    for (const std::int32_t s : model_.uses[v])
      if (!model_.kept[index(s)] && !any_follows(model_.users[s])) freed += model_.size[index(s)];
    for (const std::int32_t s : model_.in_place[v])
      if (!any_follows(model_.users[s])) gain = std::max(gain, model_.size[index(s)]);
    least_rise_.push_back(charged - gain);
    least_growth_.push_back(charged - freed);
  }
}

// False if a ready operator of a smaller index than v leads to q through a chain.
bool Downset::is_first_to_wait(std::int32_t v, std::int32_t q) const {
  if (model_.predecessors[q].size() > kMaxOperators) return false;
  for (std::int32_t p : model_.predecessors[q]) {
    if (contains(p)) continue;
    for (std::int32_t step = 0; step < kChainLimit && missing_[index(p)] == 1; ++step)
      p = static_cast<std::int32_t>(missing_sum_[index(p)]);
    if (missing_[index(p)] == 0 && p < v) return false;
  }
  return true;
}

std::int64_t Downset::climb(std::int32_t v, std::vector<std::int32_t>& climb) {
  climb.clear();
  std::int64_t net = 0;        // bytes added to live() by what has been followed
  std::int64_t least_net = 0;  // by the same at any other time
  std::int64_t rise = 0;       // how far they rose in between
  std::size_t length = 0;      // of the climb so far
  std::int64_t top = 0;        // its rise
  bool waits = false;
  std::size_t counted = 0;
  for (std::int32_t y = v;;) {
    const std::int64_t charged = charge(y);
    const std::int64_t y_rise = net + charged - gain(y);
    climb.push_back(y);
    if (climb.size() == 1) {
      length = 1;
      top = y_rise;
    } else if (least_net + least_rise_[index(y)] >= rise) {
      length = climb.size();
      top = std::max(rise, y_rise);
    }
    rise = std::max(rise, y_rise);
    net += charged - freed(y);
    least_net += least_growth_[index(y)];
    const Span successors = model_.successors[y];
    if (least_net < 0 || successors.size() != 1) break;
    count(y);
    ++counted;
    y = *successors.begin();
    if (missing_[index(y)] != 0) {
      waits = least_net + least_rise_[index(y)] >= rise && is_first_to_wait(v, y);
      break;
    }
    if (static_cast<std::int32_t>(climb.size()) == kChainLimit) break;
  }
  while (counted > 0) uncount(climb[--counted]);
  climb.resize(length);
  return waits ? kWaits : live_ + top;
}

}  // namespace planner::order
