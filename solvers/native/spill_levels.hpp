// Which storages may be absent how often: levels, and decisions on them.
//
// The level of a storage is the number of its absences that are allowed; from most_absences on it
// is no limit. A plan whose absences keep the levels costs at most what the levels cost, and those
// of any plan are levels that have an order; so the least cost of levels that have an order is the
// least traffic by capacity alone. What `ordering` relaxes (spill_oracle.hpp) is relaxed here, too:
// where a storage has several writers, is kept or lies there from the start, levels without a limit
// may pass for feasible when no plan keeps them.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "control.hpp"
#include "joint_model.hpp"
#include "spill_oracle.hpp"
#include "spill_residency.hpp"
#include "spill_stays.hpp"

namespace planner::joint {

using Levels = std::vector<std::int32_t>;  // of a storage

struct Limits {
  std::int64_t expansions;  // of a search
  std::int64_t max_nodes;   // of the tree behind a decision, which takes at most 8 times as
                            // many expansions in all
};

// Limited levels are decided by a tree. At its root limited storages are absent whenever nobody
// uses them. If the order found that way has more than k absences of a storage with level k, then k
// + 2 of its points, one of each stay, cannot all be in different stays: there is a branch for
// each pair, in which the two share a stay, and those of the branches before do not. If the order
// fits only because a user went uncounted (spill_stays.hpp), there are two branches: the user
// belongs to the stay in question, or not. The branches together are all plans that keep the
// levels. Where the proof of a branch does not need what sets the branch apart, it is a proof for
// all of them.
class LevelOracle {
 public:
  // The model must outlive the oracle.
  LevelOracle(const JointModel& model, std::int64_t memory_bytes);
  LevelOracle(const LevelOracle&) = delete;
  LevelOracle& operator=(const LevelOracle&) = delete;

  Answer decide(const Levels& levels, Limits limits, Control& control);

  // Whether these levels are infeasible for the reasons behind the last kInfeasible of decide. Levels
  // are those of the decision, or raised beyond any limit.
  bool stays_infeasible(const Levels& levels, std::int64_t bytes, std::int64_t patience,
                        Control& control);
  // The last proof: reasons each of which excludes some of the plans, all of them together.
  struct Reason;
  const std::vector<Reason>& proof() const { return proof_; }
  // As if decide had given this proof; none: it did not take a tree.
  void set_proof(std::vector<Reason> proof) { proof_ = std::move(proof); }
  bool took_a_tree() const;

  // Decides levels without limits, for a capacity of so many bytes.
  Answer ask_root(const Levels& levels, std::int64_t bytes, std::int64_t expansions,
                  Control& control);

  // Evaluates an order with all storages free to leave.
  void offer(const order::Order& order);

  // Of all orders met so far the one that can do with the least traffic; none if it is empty.
  const order::Order& best_order() const { return best_order_; }
  const Residency& best_residency() const { return best_residency_; }

  const JointModel& model() const { return model_; }
  bool is_order(const order::Order& order) const;
  const Levels& most() const { return most_; }
  bool is_limited(const Levels& levels, std::int32_t s) const {
    return levels[index(s)] > 0 && levels[index(s)] < most_[index(s)];
  }
  std::int64_t decisions() const { return decisions_; }
  std::int64_t searches() const { return searches_; }
  std::int64_t states() const { return states_; }
  std::int64_t expanded() const { return expanded_; }

  // What is settled of some storages, ascending.
  using Choices = std::vector<std::pair<std::int32_t, Stays>>;

  struct Reason {
    Choices choices;
    // Nothing, or the storage in whose level the reason is; what it settles is known not to keep
    // that.
    std::int32_t level_of = -1;
    bool operator<(const Reason& other) const;
    bool operator==(const Reason& other) const;
  };

  // Choices known to be infeasible while no others may be absent.
  struct Conflict {
    Choices choices;
    std::vector<char> absent;
    bool is_grown = false;  // as many as a few decisions show
  };
  // That of a reason which holds at these levels; nothing if it has been returned before.
  std::optional<Conflict> grown_conflict(const Reason& reason, const Levels& levels,
                                         std::int64_t patience, Control& control);
  const StayRules& rules(std::int32_t storage);

 private:
  // The model of some choices.
  struct Node {
    JointModel model;
    std::vector<Group> groups;
    std::vector<std::pair<std::int32_t, std::int32_t>> uncounted;  // storage, operator
    std::unique_ptr<SetOracle> oracle;
  };
  // Ways to go on from an order that does not keep the levels. No branches: there are no plans,
  // because of the level.
  struct Step {
    std::int32_t storage = -1;  // none: the order keeps them
    std::vector<Stays> branches;
    bool by_level = false;  // some branch is left out because of what is settled
  };

  const Stays& stays(const Choices& choices, std::int32_t storage);
  // The node lives until the next call.
  Node& node(const Choices& choices);
  std::vector<char> absent_at(const Levels& levels) const;
  Answer ask(Node& node, const Levels& levels, std::int64_t bytes, std::int64_t expansions,
             Control& control);
  Answer branch(const Levels& levels, const Choices& choices, std::int64_t expansions,
                std::int64_t last_expansion, std::int64_t& nodes_left, Control& control);
  const Conflict* known_conflict(const Levels& levels, const Choices& choices) const;
  Choices reduced(const Levels& levels, Choices choices, std::int64_t patience, Control& control);
  Step next_step(const Levels& levels, const Choices& choices);
  Step step_of_uncounted(const Levels& levels, const Choices& choices, const Node& node,
                         const order::Order& order, const std::vector<std::int32_t>& step_of);
  Step step_of_pairs(const Choices& choices, std::int32_t storage, std::int32_t level,
                     const Residency& residency, const std::vector<std::int32_t>& step_of);
  void absent_more(Conflict& conflict, const std::vector<std::int32_t>& storages,
                   std::int64_t patience, Control& control);
  void remember(Conflict conflict);
  void keep_if_better(const order::Order& order, const Residency& residency);

  const JointModel& model_;
  const std::int64_t memory_bytes_;
  Levels most_;
  std::map<std::int32_t, StayRules> rules_;
  std::map<Choices, Node> nodes_;
  std::vector<Conflict> conflicts_;
  std::vector<Reason> proof_;
  order::Order best_order_;
  Residency best_residency_;
  std::int64_t decisions_ = 0;
  std::int64_t searches_ = 0;
  std::int64_t states_ = 0;
  std::int64_t expanded_ = 0;
};

}  // namespace planner::joint
