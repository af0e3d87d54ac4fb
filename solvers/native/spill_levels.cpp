#include "spill_levels.hpp"

#include <algorithm>
#include <limits>
#include <tuple>

namespace planner::joint {

namespace {

constexpr std::int32_t kMaxGroupings = 1'000;
constexpr std::int64_t kPeakCutPatience = 20;
constexpr int kBisections = 10;
constexpr std::size_t kBlocks = 8;
constexpr std::size_t kMaxNodesKept = 256;
constexpr std::int64_t kLeastPatience = 2'000;  // expansions

}  // namespace

bool LevelOracle::Choice::operator<(const Choice& other) const {
  return std::tie(storage, count, grouping) <
         std::tie(other.storage, other.count, other.grouping);
}

bool LevelOracle::Choice::operator==(const Choice& other) const {
  return std::tie(storage, count, grouping) ==
         std::tie(other.storage, other.count, other.grouping);
}

LevelOracle::LevelOracle(const JointModel& model, std::int64_t memory_bytes)
    : model_(model), memory_bytes_(memory_bytes) {
  for (std::int32_t s = 0; s < model.storages(); ++s)
    most_.push_back(most_absences(model, s));
}

const std::vector<std::vector<Group>>& LevelOracle::groupings_of(std::int32_t storage,
                                                                 std::int32_t count) {
  const auto [entry, is_new] = groupings_.try_emplace({storage, count});
  if (is_new) entry->second = groupings(model_, storage, count, kMaxGroupings);
  return entry->second;
}

LevelOracle::Node& LevelOracle::node(const Choices& choices) {
  if (nodes_.size() >= kMaxNodesKept && nodes_.count(choices) == 0) {
    // All but the one without choices, which comes first.
    nodes_.erase(nodes_.upper_bound(Choices{}), nodes_.end());
  }
  const auto [entry, is_new] = nodes_.try_emplace(choices);
  Node& node = entry->second;
  if (!is_new) return node;
  for (const Choice& choice : choices)
    for (const Group& group :
         groupings_of(choice.storage, choice.count)[index(choice.grouping)]) {
      const std::size_t points = group.operators.size() + (group.from_beginning ? 1 : 0) +
                                 (group.to_end ? 1 : 0);
      if (points > 1) node.groups.push_back(group);
    }
  if (!choices.empty()) node.model = with_groups(model_, node.groups);
  node.oracle = std::make_unique<SetOracle>(choices.empty() ? model_ : node.model, memory_bytes_);
  return node;
}

Answer LevelOracle::ask(Node& node, const Levels& levels, std::int64_t bytes,
                        std::int64_t expansions, Control& control) {
  ++decisions_;
  std::vector<char> absent(index(model_.storages()) + node.groups.size(), 0);
  for (std::int32_t s = 0; s < model_.storages(); ++s) absent[index(s)] = levels[index(s)] > 0;
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

// Decides the levels with these choices made and the other limited storages unlimited so far.
Answer LevelOracle::branch(const Levels& levels, const Choices& choices, std::int64_t expansions,
                           std::int64_t& nodes_left, Control& control) {
  if (nodes_left-- <= 0 || control.stop_now()) return Answer::kLimit;
  Node& here = node(choices);
  const Answer answer = ask(here, levels, model_.capacity, expansions, control);
  if (answer == Answer::kInfeasible) leaves_.push_back(choices);
  if (answer != Answer::kFeasible) return answer;
  std::vector<char> absent(index(model_.storages()), 0);
  for (std::int32_t s = 0; s < model_.storages(); ++s) absent[index(s)] = levels[index(s)] > 0;
  const Residency residency = reside(model_, here.oracle->order(), absent, here.groups);
  keep_if_better(here.oracle->order(), residency);
  const auto is_chosen = [&](std::int32_t s) {
    return std::any_of(choices.begin(), choices.end(),
                       [&](const Choice& choice) { return choice.storage == s; });
  };
  std::int32_t next = -1;
  std::int64_t most_excess = 0;
  for (std::int32_t s = 0; s < model_.storages(); ++s) {
    if (!is_limited(levels, s) || is_chosen(s)) continue;
    const std::int64_t excess =
        (residency.absences[index(s)] - levels[index(s)]) * model_.read_cost(s);
    if (excess <= most_excess) continue;
    most_excess = excess;
    next = s;
  }
  if (next < 0) return Answer::kFeasible;

  const std::int32_t count = levels[index(next)] + 1;
  const std::size_t options = groupings_of(next, count).size();
  if (options == 0) return Answer::kLimit;
  bool complete = true;
  for (std::size_t i = 0; i < options; ++i) {
    Choices child = choices;
    child.push_back({next, count, static_cast<std::int32_t>(i)});
    std::sort(child.begin(), child.end());
    const Answer found = branch(levels, child, expansions, nodes_left, control);
    if (found == Answer::kFeasible) return found;
    if (found == Answer::kLimit) complete = false;
    if (!complete && (nodes_left <= 0 || control.stop_now())) break;
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

Cut LevelOracle::peak_cut(std::int64_t bytes, std::int64_t patience, Control& control) {
  leaves_.assign(1, {});
  last_expansion_ = expanded_ + kPeakCutPatience * patience;
  Cut cut = grown_cut(Levels(index(model_.storages()), 0), bytes, patience, control);
  last_expansion_ = std::numeric_limits<std::int64_t>::max();
  return cut;
}

Answer LevelOracle::decide(const Levels& levels, std::int64_t expansions, std::int64_t max_nodes,
                           Control& control) {
  leaves_.clear();
  return branch(levels, {}, expansions, max_nodes, control);
}

// Whether each leaf of the last proof is infeasible at these levels, too. Storages that are not
// limited any more lose their groups.
bool LevelOracle::stays_infeasible(const Levels& levels, std::int64_t bytes,
                                   std::int64_t patience, Control& control) {
  std::vector<Choices> leaves;
  for (const Choices& leaf : leaves_) {
    Choices& limited = leaves.emplace_back();
    for (const Choice& choice : leaf)
      if (is_limited(levels, choice.storage)) limited.push_back(choice);
  }
  for (std::size_t i = 0; i < leaves.size(); ++i) {
    if (std::find(leaves.begin(), leaves.begin() + static_cast<std::ptrdiff_t>(i), leaves[i]) !=
        leaves.begin() + static_cast<std::ptrdiff_t>(i))
      continue;
    if (ask(node(leaves[i]), levels, bytes, patience, control) == Answer::kInfeasible) continue;
    // The likeliest to fail again.
    std::rotate(leaves_.begin(), leaves_.begin() + static_cast<std::ptrdiff_t>(i),
                leaves_.begin() + static_cast<std::ptrdiff_t>(i) + 1);
    return false;
  }
  std::sort(leaves.begin(), leaves.end());
  leaves.erase(std::unique(leaves.begin(), leaves.end()), leaves.end());
  leaves_ = std::move(leaves);
  return true;
}

// Lifts the limits of as many of these storages as the proof allows.
void LevelOracle::raise(Levels& levels, const std::vector<std::int32_t>& storages,
                        std::int64_t bytes, std::int64_t patience, Control& control) {
  if (storages.empty() || expanded_ >= last_expansion_ || control.stop_now()) return;
  const Levels before = levels;
  for (const std::int32_t s : storages) levels[index(s)] = most_[index(s)];
  if (stays_infeasible(levels, bytes, patience, control)) return;
  levels = before;
  if (storages.size() == 1) return;
  const auto middle = storages.begin() + static_cast<std::ptrdiff_t>(storages.size() / 2);
  raise(levels, {storages.begin(), middle}, bytes, patience, control);
  raise(levels, {middle, storages.end()}, bytes, patience, control);
}

// The cut of levels that `bytes` have been proven not to suffice for.
Cut LevelOracle::grown_cut(Levels levels, std::int64_t bytes, std::int64_t patience,
                           Control& control) {
  std::vector<std::int32_t> candidates, limited;
  for (std::int32_t s = model_.storages(); s-- > 0;) {
    if (levels[index(s)] == 0 && most_[index(s)] > 0) candidates.push_back(s);
    if (is_limited(levels, s)) limited.push_back(s);
  }
  // The cheap ones first, so that what remains in the cut is worth something.
  std::stable_sort(candidates.begin(), candidates.end(), [&](std::int32_t a, std::int32_t b) {
    return model_.write_cost(a) + model_.read_cost(a) < model_.write_cost(b) + model_.read_cost(b);
  });
  const std::size_t block = std::max<std::size_t>(1, (candidates.size() + kBlocks - 1) / kBlocks);
  for (std::size_t i = 0; i < candidates.size(); i += block)
    raise(levels,
          {candidates.begin() + static_cast<std::ptrdiff_t>(i),
           candidates.begin() + static_cast<std::ptrdiff_t>(std::min(i + block, candidates.size()))},
          bytes, patience, control);
  for (const std::int32_t s : limited) raise(levels, {s}, bytes, patience, control);
  // One byte more is missing than the bytes that do not suffice either.
  Cut cut{{}, bytes + 1 - model_.capacity};
  bool is_plain = true;
  for (std::int32_t s = 0; s < model_.storages(); ++s) {
    if (levels[index(s)] >= most_[index(s)]) continue;
    const std::int64_t weight = std::min(model_.rounded[index(s)], cut.demand);
    is_plain = is_plain && weight == cut.demand;
    cut.members.push_back({s, levels[index(s)], weight});
  }
  if (is_plain) {
    cut.demand = 1;
    for (CutMember& member : cut.members) member.weight = 1;
  }
  return cut;
}

// The largest number of bytes that a few decisions prove not to suffice for levels without limits;
// at least `low`, for which it is known.
std::int64_t LevelOracle::most_infeasible_bytes(const Levels& levels, std::int64_t low,
                                                std::int64_t patience, Control& control) {
  std::vector<char> absent(index(model_.storages()), 0);
  for (std::int32_t s = 0; s < model_.storages(); ++s) absent[index(s)] = levels[index(s)] > 0;
  const order::OrderModel ordered = ordering(model_, absent);
  std::int64_t high =
      order::peak_of(ordered, order::list_order(ordered, order::ListRule::kDefault, 0));
  for (int i = 0; i < kBisections && high - low > 1 && !control.stop_now(); ++i) {
    const std::int64_t middle = low + (high - low) / 2;
    if (ask(node({}), levels, middle, patience, control) == Answer::kInfeasible)
      low = middle;
    else
      high = middle;
  }
  return low;
}

std::vector<Cut> LevelOracle::cuts(Levels levels, std::int64_t expansions, std::int64_t growth,
                                   std::int64_t max_nodes, Control& control) {
  std::vector<Cut> found;
  std::int64_t patience = expansions;
  for (;;) {
    const std::int64_t before = expanded_;
    if (decide(levels, patience, max_nodes, control) != Answer::kInfeasible) break;
    patience = std::min(expansions, std::max(kLeastPatience, growth * (expanded_ - before)));
    const std::vector<Choices> proof = leaves_;
    Cut cut = grown_cut(levels, model_.capacity, patience, control);
    if (proof.size() == 1 && proof[0].empty() && !cut.members.empty()) {
      // Much may be missing: then one cut with weights says what many without would have to.
      std::int64_t largest = 0;
      for (std::int32_t s = 0; s < model_.storages(); ++s)
        if (levels[index(s)] < most_[index(s)])
          largest = std::max(largest, model_.rounded[index(s)]);
      const std::int64_t some = model_.capacity + largest / 2;
      if (ask(node({}), levels, some, patience, control) == Answer::kInfeasible) {
        leaves_ = proof;
        const std::int64_t bytes = most_infeasible_bytes(levels, some, patience, control);
        Cut heavy = grown_cut(levels, bytes, patience, control);
        if (heavy.demand > 1) found.push_back(std::move(heavy));
      }
    }
    for (const CutMember& member : cut.members)
      levels[index(member.element)] = most_[index(member.element)];
    const bool is_hopeless = cut.members.empty();
    found.push_back(std::move(cut));
    if (is_hopeless) break;  // infeasible whatever may be absent
  }
  return found;
}

}  // namespace planner::joint
