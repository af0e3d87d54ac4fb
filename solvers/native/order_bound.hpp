// Lower bounds on the peak of any order.
#pragma once

#include <cstdint>
#include <limits>
#include <vector>

#include "control.hpp"
#include "order_downset.hpp"
#include "order_flow.hpp"
#include "order_model.hpp"

namespace planner::order {

// Bytes that are certainly live while v runs: what it reads and starts, less its largest possible
// gain.
std::int64_t footprint(const OrderModel& model, std::int32_t v);

// The largest footprint, and at least what is live before the first operator.
std::int64_t footprint_bound(const OrderModel& model);

// When v runs, the downset D of finished operators contains its ancestors, and neither v nor its
// descendants. The smallest transient of v over all such D is a minimum cut with D on the source
// side: f + charge is submodular, and so is minus the gain from one operand, so there is one cut
// for each storage that v may overwrite (one in all if there is none); the least of them counts.
class CutBound {
 public:
  // When an operator runs, relative to a group of operators that it belongs to.
  enum class Place { kAnywhere, kLast, kFirst };
  static constexpr std::int64_t kImpossible = std::numeric_limits<std::int64_t>::max();

  explicit CutBound(const OrderModel& model);

  // The smallest transient of v at this place in the group, or some upper estimate of it as soon
  // as that is not above `enough`; kImpossible if v cannot have the place; -1 if `work` ran out or
  // the control said stop.
  std::int64_t smallest_transient(std::int32_t v, Place place,
                                  const std::vector<std::int32_t>& group, std::int64_t enough,
                                  std::int64_t& work, Control& control);

  // The downset behind the last answer.
  const Bits& downset() const { return best_; }
  std::int64_t cuts() const { return cuts_; }

 private:
  bool classify(std::int32_t v, Place place, const std::vector<std::int32_t>& group,
                std::int64_t& work);
  std::int64_t cut(std::int32_t v, std::int32_t operand, std::int64_t& work, Control& control);
  void add_storage(std::int32_t s);
  void add_operand(std::int32_t v, std::int32_t operand);

  const OrderModel& model_;
  FlowNetwork network_;
  std::vector<std::int32_t> node_;  // of an operator: source (in D), sink (not in D) or its own
  std::vector<std::int32_t> free_;  // operators that are neither
  std::vector<std::int32_t> stack_, free_starters_, free_users_;
  std::int64_t constant_ = 0;
  std::int64_t cuts_ = 0;
  Bits best_;
};

struct BoundResult {
  std::int64_t bound;
  std::int64_t cuts;
};

// The best bound from cuts, at least `floor`. `estimates` holds a transient of each operator in
// some order: no cut can be above it, so operators that cannot raise the bound cost nothing.
//
// Then groups: some operator of a group runs last, when all others have run, and some operator
// runs first, so the least of its transients at that place is a bound, too. It counts what equal
// branches (the heads of an attention layer) hold while the last of them is at its worst. The
// groups tried are heavy operators none of which depends on another.
//
// Stops, with a valid bound, when `work` or the control says so.
BoundResult cut_bound(const OrderModel& model, std::vector<std::int64_t> estimates,
                      std::int64_t floor, std::int64_t& work, Control& control);

}  // namespace planner::order
