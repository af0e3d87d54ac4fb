#include "spill_levels.hpp"

#include <algorithm>
#include <tuple>

namespace planner::joint {

namespace {

constexpr std::size_t kMaxNodesKept = 512;
constexpr std::size_t kMaxConflictsKept = 4'096;
constexpr std::int64_t kTreeSearches = 8;  // a tree may expand as much as so many searches
constexpr std::int64_t kLeastPatience = 2'000;  // expansions

using Choices = LevelOracle::Choices;

void settle(Choices& choices, std::int32_t storage, Stays stays) {
  const auto place = std::lower_bound(
      choices.begin(), choices.end(), storage,
      [](const auto& choice, std::int32_t s) { return choice.first < s; });
  if (place != choices.end() && place->first == storage)
    place->second = std::move(stays);
  else
    choices.insert(place, {storage, std::move(stays)});
}

const Stays* find(const Choices& choices, std::int32_t storage) {
  for (const auto& [s, stays] : choices)
    if (s == storage) return &stays;
  return nullptr;
}

}  // namespace

bool LevelOracle::Reason::operator<(const Reason& other) const {
  return std::tie(choices, level_of) < std::tie(other.choices, other.level_of);
}

bool LevelOracle::Reason::operator==(const Reason& other) const {
  return std::tie(choices, level_of) == std::tie(other.choices, other.level_of);
}

LevelOracle::LevelOracle(const JointModel& model, std::int64_t memory_bytes)
    : model_(model), memory_bytes_(memory_bytes) {
  for (std::int32_t s = 0; s < model.storages(); ++s)
    most_.push_back(most_absences(model, s));
}

const StayRules& LevelOracle::rules(std::int32_t storage) {
  const auto found = rules_.find(storage);
  if (found != rules_.end()) return found->second;
  return rules_.emplace(storage, StayRules(model_, storage)).first->second;
}

const Stays& LevelOracle::stays(const Choices& choices, std::int32_t storage) {
  const Stays* settled = find(choices, storage);
  return settled != nullptr ? *settled : rules(storage).unsettled();
}

LevelOracle::Node& LevelOracle::node(const Choices& choices) {
  if (nodes_.size() >= kMaxNodesKept && nodes_.count(choices) == 0) {
    // All but the one without choices, which comes first.
    nodes_.erase(nodes_.upper_bound(Choices{}), nodes_.end());
  }
  const auto [entry, is_new] = nodes_.try_emplace(choices);
  Node& node = entry->second;
  if (!is_new) return node;
  for (const auto& [storage, stays] : choices) {
    const StayRules& known = rules(storage);
    for (Group& group : known.groups(stays)) node.groups.push_back(std::move(group));
    for (const auto& [point, group] : known.undecided(stays)) {
      const std::pair<std::int32_t, std::int32_t> user{
          storage, known.points()[index(point)].operators.front()};
      if (node.uncounted.empty() || node.uncounted.back() != user) node.uncounted.push_back(user);
    }
  }
  if (!choices.empty()) node.model = with_groups(model_, node.groups, node.uncounted);
  node.oracle = std::make_unique<SetOracle>(choices.empty() ? model_ : node.model, memory_bytes_);
  return node;
}

std::vector<char> LevelOracle::absent_at(const Levels& levels) const {
  std::vector<char> absent;
  for (const std::int32_t level : levels) absent.push_back(level > 0);
  return absent;
}

Answer LevelOracle::ask(Node& node, const Levels& levels, std::int64_t bytes,
                        std::int64_t expansions, Control& control) {
  ++decisions_;
  std::vector<char> absent = absent_at(levels);
  absent.resize(absent.size() + node.groups.size(), 0);
  SetOracle& oracle = *node.oracle;
  searches_ -= oracle.searches();
  states_ -= oracle.states();
  expanded_ -= oracle.expanded();
  const Answer answer = oracle.decide(absent, bytes, expansions, control);
  searches_ += oracle.searches();
  states_ += oracle.states();
  expanded_ += oracle.expanded();
  return answer;
}

Answer LevelOracle::ask_root(const Levels& levels, std::int64_t bytes, std::int64_t expansions,
                             Control& control) {
  return ask(node({}), levels, bytes, expansions, control);
}

const LevelOracle::Conflict* LevelOracle::known_conflict(const Levels& levels,
                                                         const Choices& choices) const {
  for (const Conflict& conflict : conflicts_) {
    const bool applies = std::all_of(
        conflict.choices.begin(), conflict.choices.end(), [&](const auto& choice) {
          const Stays* settled = find(choices, choice.first);
          return settled != nullptr && implies(*settled, choice.second);
        });
    if (!applies) continue;
    bool covers = true;
    for (std::size_t s = 0; s < levels.size() && covers; ++s)
      covers = levels[s] == 0 || conflict.absent[s];
    if (covers) return &conflict;
  }
  return nullptr;
}

void LevelOracle::remember(Conflict conflict) {
  if (conflicts_.size() >= kMaxConflictsKept) conflicts_.clear();
  conflicts_.push_back(std::move(conflict));
}

// Adds as many of the storages to those that may be absent as the conflict allows.
void LevelOracle::absent_more(Conflict& conflict, const std::vector<std::int32_t>& storages,
                              std::int64_t patience, Control& control) {
  if (storages.empty() || control.stop_now()) return;
  Levels levels(conflict.absent.begin(), conflict.absent.end());
  for (const std::int32_t s : storages) levels[index(s)] = 1;
  if (ask(node(conflict.choices), levels, model_.capacity, patience, control) ==
      Answer::kInfeasible) {
    conflict.absent = absent_at(levels);
    return;
  }
  if (storages.size() == 1) return;
  const auto middle = storages.begin() + static_cast<std::ptrdiff_t>(storages.size() / 2);
  absent_more(conflict, {storages.begin(), middle}, patience, control);
  absent_more(conflict, {middle, storages.end()}, patience, control);
}

std::optional<LevelOracle::Conflict> LevelOracle::grown_conflict(const Reason& reason,
                                                                 const Levels& levels,
                                                                 std::int64_t patience,
                                                                 Control& control) {
  Conflict conflict{reason.choices, absent_at(levels), true};
  for (const Conflict& known : conflicts_)
    if (known.is_grown && known.choices == conflict.choices &&
        std::equal(conflict.absent.begin(), conflict.absent.end(), known.absent.begin(),
                   [](char some, char all) { return some <= all; }))
      return std::nullopt;
  std::vector<std::int32_t> candidates;
  for (std::int32_t s = 0; s < model_.storages(); ++s)
    if (!conflict.absent[index(s)] && most_[index(s)] > 0) candidates.push_back(s);
  std::stable_sort(candidates.begin(), candidates.end(), [&](std::int32_t a, std::int32_t b) {
    return model_.write_cost(a) + model_.read_cost(a) < model_.write_cost(b) + model_.read_cost(b);
  });
  absent_more(conflict, candidates, patience, control);
  remember(conflict);
  return conflict;
}

// Choices that are infeasible with as little settled as a few decisions show.
Choices LevelOracle::reduced(const Levels& levels, Choices choices, std::int64_t patience,
                             Control& control) {
  for (std::size_t i = choices.size(); i-- > 0 && choices.size() > 1;) {
    Choices fewer = choices;
    fewer.erase(fewer.begin() + static_cast<std::ptrdiff_t>(i));
    if (ask(node(fewer), levels, model_.capacity, patience, control) == Answer::kInfeasible)
      choices = std::move(fewer);
  }
  for (std::size_t i = 0; i < choices.size(); ++i) {
    if (choices[i].second.apart.empty()) continue;
    Choices fewer = choices;
    fewer[i].second.apart.clear();
    if (ask(node(fewer), levels, model_.capacity, patience, control) == Answer::kInfeasible)
      choices = std::move(fewer);
  }
  return choices;
}

Answer LevelOracle::branch(const Levels& levels, const Choices& choices, std::int64_t expansions,
                           std::int64_t last_expansion, std::int64_t& nodes_left,
                           Control& control) {
  if (nodes_left-- <= 0 || expanded_ > last_expansion || control.stop_now())
    return Answer::kLimit;
  if (const Conflict* known = known_conflict(levels, choices)) {
    proof_.push_back({known->choices, -1});
    return Answer::kInfeasible;
  }
  const std::int64_t before = expanded_;
  const Answer answer = ask(node(choices), levels, model_.capacity, expansions, control);
  if (answer == Answer::kInfeasible) {
    const std::int64_t patience =
        std::min(expansions, std::max(kLeastPatience, 2 * (expanded_ - before)));
    proof_.push_back({reduced(levels, choices, patience, control), -1});
    remember({proof_.back().choices, absent_at(levels)});
  }
  if (answer != Answer::kFeasible) return answer;

  const Step step = next_step(levels, choices);
  if (step.storage < 0) return Answer::kFeasible;
  const Stays here = stays(choices, step.storage);
  const std::size_t first_reason = proof_.size();
  if (step.by_level) proof_.push_back({{{step.storage, here}}, step.storage});
  bool complete = true;
  for (const Stays& settled : step.branches) {
    const std::size_t own_reasons = proof_.size();
    Choices child = choices;
    settle(child, step.storage, settled);
    const Answer found = branch(levels, child, expansions, last_expansion, nodes_left, control);
    if (found == Answer::kFeasible) return found;
    if (found == Answer::kLimit) {
      complete = false;
      if (nodes_left <= 0 || expanded_ > last_expansion || control.stop_now()) break;
      continue;
    }
    const bool needs_branch = std::any_of(
        proof_.begin() + static_cast<std::ptrdiff_t>(own_reasons), proof_.end(),
        [&](const Reason& reason) {
          const Stays* needed = find(reason.choices, step.storage);
          return needed != nullptr && !implies(here, *needed);
        });
    if (!needs_branch) {
      proof_.erase(proof_.begin() + static_cast<std::ptrdiff_t>(first_reason),
                   proof_.begin() + static_cast<std::ptrdiff_t>(own_reasons));
      return Answer::kInfeasible;
    }
  }
  return complete ? Answer::kInfeasible : Answer::kLimit;
}

void LevelOracle::keep_if_better(const order::Order& order, const Residency& residency) {
  if (!residency.fits) return;
  if (!best_order_.empty() && residency.traffic >= best_residency_.traffic) return;
  best_order_ = order;
  best_residency_ = residency;
}

bool LevelOracle::is_order(const order::Order& order) const {
  const std::vector<char> none(index(model_.storages()), 0);
  return order::is_topological(ordering(model_, none), order);
}

void LevelOracle::offer(const order::Order& order) {
  keep_if_better(order, reside(model_, order, std::vector<char>(index(model_.storages()), 1), {}));
}

bool LevelOracle::took_a_tree() const {
  return proof_.size() != 1 || !proof_[0].choices.empty();
}

Answer LevelOracle::decide(const Levels& levels, Limits limits, Control& control) {
  proof_.clear();
  std::int64_t nodes_left = limits.max_nodes;
  const Answer answer =
      branch(levels, {}, limits.expansions, expanded_ + kTreeSearches * limits.expansions,
             nodes_left, control);
  std::sort(proof_.begin(), proof_.end());
  proof_.erase(std::unique(proof_.begin(), proof_.end()), proof_.end());
  return answer;
}

bool LevelOracle::stays_infeasible(const Levels& levels, std::int64_t bytes,
                                   std::int64_t patience, Control& control) {
  std::vector<Reason> reasons;
  for (std::size_t i = 0; i < proof_.size(); ++i) {
    Reason reason{{}, -1};
    for (const auto& choice : proof_[i].choices)
      if (is_limited(levels, choice.first)) reason.choices.push_back(choice);
    const std::int32_t level_of = proof_[i].level_of;
    const bool by_level = level_of >= 0 && is_limited(levels, level_of);
    if (by_level) reason.level_of = level_of;
    const bool is_new = std::find(reasons.begin(), reasons.end(), reason) == reasons.end();
    if (is_new) reasons.push_back(reason);
    if (!is_new || by_level) continue;
    if (ask(node(reason.choices), levels, bytes, patience, control) == Answer::kInfeasible)
      continue;
    // The likeliest to fail again.
    std::rotate(proof_.begin(), proof_.begin() + static_cast<std::ptrdiff_t>(i),
                proof_.begin() + static_cast<std::ptrdiff_t>(i) + 1);
    return false;
  }
  std::sort(reasons.begin(), reasons.end());
  proof_ = std::move(reasons);
  return true;
}

}  // namespace planner::joint
