// Which storages may be absent how often: levels, decisions on them, and cuts.
//
// The level of a storage is the number of its absences that are allowed; from most_absences on it
// is no limit. A plan whose absences keep the levels costs at most what the levels cost, and those
// of any plan are levels that have an order; so the least cost of levels that have an order is the
// least traffic by capacity alone. What `ordering` relaxes (spill_oracle.hpp) is relaxed here, too:
// where a storage has several writers, is kept or lies there from the start, levels without a limit
// may pass for feasible when no plan keeps them.
#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "control.hpp"
#include "joint_model.hpp"
#include "spill_hitting.hpp"
#include "spill_oracle.hpp"
#include "spill_points.hpp"
#include "spill_residency.hpp"

namespace planner::joint {

using Levels = std::vector<std::int32_t>;  // of a storage

// If levels need P > B bytes at the best, and raising that of a storage saves at most its size, then
// in any plan the sizes of those absent more often than these levels say add up to P - B or more.
// Storages that can be raised without P falling are left out. Where any member is large enough by
// itself the cut is a plain one: all weights and the demand are 1.

class LevelOracle {
 public:
  // The model must outlive the oracle.
  LevelOracle(const JointModel& model, std::int64_t memory_bytes);
  LevelOracle(const LevelOracle&) = delete;
  LevelOracle& operator=(const LevelOracle&) = delete;

  // Limited levels are decided by trying the groupings of one storage after another, each time
  // with the others still unlimited; `max_nodes` is a limit on these decisions.
  Answer decide(const Levels& levels, std::int64_t expansions, std::int64_t max_nodes,
                Control& control);

  // Cuts that the levels do not meet, disjoint except in level; none if the levels are feasible or
  // that is not settled within the limits. Each is as small as raising levels in blocks can make
  // it, where a decision may take `growth` times the expansions of the proof that it starts from.
  std::vector<Cut> cuts(Levels levels, std::int64_t expansions, std::int64_t growth,
                        std::int64_t max_nodes, Control& control);

  // The cut that follows from a proof that without absences `bytes` do not suffice; not below the
  // capacity. `patience` expansions per decision, and a few times that in all.
  Cut peak_cut(std::int64_t bytes, std::int64_t patience, Control& control);

  // Evaluates an order with all storages free to leave.
  void offer(const order::Order& order);

  // Of all orders met so far the one that can do with the least traffic; none if it is empty.
  const order::Order& best_order() const { return best_order_; }
  const Residency& best_residency() const { return best_residency_; }

  std::int64_t capacity() const { return model_.capacity; }
  bool is_order(const order::Order& order) const;
  const Levels& most() const { return most_; }
  std::int64_t decisions() const { return decisions_; }
  std::int64_t searches() const { return searches_; }
  std::int64_t states() const { return states_; }

 private:
  // A storage, the number of its groups, and which of its groupings.
  struct Choice {
    std::int32_t storage, count, grouping;
    bool operator<(const Choice& other) const;
    bool operator==(const Choice& other) const;
  };
  using Choices = std::vector<Choice>;  // ascending

  // The model of some choices.
  struct Node {
    JointModel model;
    std::vector<Group> groups;
    std::unique_ptr<SetOracle> oracle;
  };

  const std::vector<std::vector<Group>>& groupings_of(std::int32_t storage, std::int32_t count);
  // The node lives until the next call.
  Node& node(const Choices& choices);
  bool is_limited(const Levels& levels, std::int32_t s) const {
    return levels[index(s)] > 0 && levels[index(s)] < most_[index(s)];
  }
  Answer ask(Node& node, const Levels& levels, std::int64_t bytes, std::int64_t expansions,
             Control& control);
  Answer branch(const Levels& levels, const Choices& choices, std::int64_t expansions,
                std::int64_t& nodes_left, Control& control);
  bool stays_infeasible(const Levels& levels, std::int64_t bytes, std::int64_t patience,
                        Control& control);
  void raise(Levels& levels, const std::vector<std::int32_t>& storages, std::int64_t bytes,
             std::int64_t patience, Control& control);
  Cut grown_cut(Levels levels, std::int64_t bytes, std::int64_t patience, Control& control);
  void keep_if_better(const order::Order& order, const Residency& residency);
  std::int64_t most_infeasible_bytes(const Levels& levels, std::int64_t low,
                                     std::int64_t patience, Control& control);

  const JointModel& model_;
  const std::int64_t memory_bytes_;
  Levels most_;
  std::map<std::pair<std::int32_t, std::int32_t>, std::vector<std::vector<Group>>> groupings_;
  std::map<Choices, Node> nodes_;
  std::vector<Choices> leaves_;  // each infeasible, and together all there is: the last proof
  order::Order best_order_;
  Residency best_residency_;
  std::int64_t decisions_ = 0;
  std::int64_t searches_ = 0;
  std::int64_t states_ = 0;
  std::int64_t expanded_ = 0;
  std::int64_t last_expansion_ = std::numeric_limits<std::int64_t>::max();  // for raising levels
};

}  // namespace planner::joint
