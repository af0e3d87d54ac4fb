// Whether some order fits once given storages may be absent whenever no operator uses
// them: joint::ordering, decided at one level.
#pragma once

#include <cstdint>
#include <vector>

#include "control.hpp"
#include "joint_model.hpp"
#include "order_heuristics.hpp"
#include "order_parts.hpp"

namespace planner::joint {

enum class Answer { kFeasible, kInfeasible, kLimit };

// Parts of the graph are decided one by one (order_parts.hpp), and what is known about a part
// answers for every set that differs elsewhere only. More absent storages never need more bytes, so
// an infeasible set answers for its subsets and for lower levels, a feasible one for its supersets and
// for higher levels.
class SetOracle {
 public:
  // The model must outlive the oracle.
  SetOracle(const JointModel& model, std::int64_t memory_bytes);

  // Whether some order needs at most `level` bytes. `expansions` of the search per part; kLimit also
  // if the control or the memory says so.
  Answer decide(const std::vector<char>& absent, std::int64_t level, std::int64_t expansions,
                Control& control);

  // Behind the last kFeasible.
  const order::Order& order() const { return order_; }
  std::int64_t searches() const { return searches_; }
  std::int64_t states() const { return states_; }
  std::int64_t expanded() const { return expanded_; }

 private:
  struct Known {
    std::vector<std::uint64_t> absent;  // of the part's storages
    std::int64_t level;
    Answer answer;
    std::int64_t expansions;
    order::Order order;  // of the part, in the whole model's numbers
  };
  struct PartState {
    order::Part part;
    std::vector<std::int32_t> storages;  // that its peak may depend on
    std::vector<Known> known;
  };

  const Known& decide_part(PartState& state, const order::OrderModel& model,
                           const std::vector<char>& absent, std::int64_t level,
                           std::int64_t expansions, Control& control);
  void search_part(order::Part part, const order::OrderModel& model, std::int64_t expansions,
                   Control& control, Known& known);

  const JointModel& model_;
  const std::int64_t memory_bytes_;
  std::vector<PartState> parts_;  // those that leave a choice, the last to fail first
  std::vector<std::int32_t> fixed_;  // operators at the same place in every order
  order::Order order_;
  std::int64_t searches_ = 0;
  std::int64_t states_ = 0;
  std::int64_t expanded_ = 0;
};

}  // namespace planner::joint
