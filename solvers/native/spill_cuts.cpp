#include "spill_cuts.hpp"

#include <algorithm>
#include <limits>
#include <utility>

namespace planner::joint {

namespace {

constexpr std::int64_t kPeakCutPatience = 20;
constexpr int kBisections = 10;
constexpr std::size_t kBlocks = 8;
constexpr std::int64_t kLeastPatience = 2'000;  // expansions
constexpr std::int64_t kClimbNodes = 200;
constexpr std::int64_t kNever = std::numeric_limits<std::int64_t>::max();

struct Effort {
  std::int64_t patience;         // expansions of a decision
  std::int64_t last_expansion;  // of the oracle: none after
};

// Lifts the limits of as many of these storages as the proof allows.
void raise(LevelOracle& oracle, Levels& levels, const std::vector<std::int32_t>& storages,
           std::int64_t bytes, Effort effort, Control& control) {
  if (storages.empty() || oracle.expanded() >= effort.last_expansion || control.stop_now()) return;
  const Levels before = levels;
  for (const std::int32_t s : storages) levels[index(s)] = oracle.most()[index(s)];
  if (oracle.stays_infeasible(levels, bytes, effort.patience, control)) return;
  levels = before;
  if (storages.size() == 1) return;
  const auto middle = storages.begin() + static_cast<std::ptrdiff_t>(storages.size() / 2);
  raise(oracle, levels, {storages.begin(), middle}, bytes, effort, control);
  raise(oracle, levels, {middle, storages.end()}, bytes, effort, control);
}

// Raises the levels, which `bytes` are proven not to suffice for, as far as that stays so.
void grow(LevelOracle& oracle, Levels& levels, std::int64_t bytes, Effort effort,
          Control& control) {
  const JointModel& model = oracle.model();
  std::vector<std::int32_t> candidates, limited;
  for (std::int32_t s = model.storages(); s-- > 0;) {
    if (levels[index(s)] == 0 && oracle.most()[index(s)] > 0) candidates.push_back(s);
    if (oracle.is_limited(levels, s)) limited.push_back(s);
  }
  // The cheap ones first, so that what remains in the cut is worth something.
  std::stable_sort(candidates.begin(), candidates.end(), [&](std::int32_t a, std::int32_t b) {
    return model.write_cost(a) + model.read_cost(a) < model.write_cost(b) + model.read_cost(b);
  });
  const std::size_t block = std::max<std::size_t>(1, (candidates.size() + kBlocks - 1) / kBlocks);
  for (std::size_t i = 0; i < candidates.size(); i += block)
    raise(oracle, levels,
          {candidates.begin() + static_cast<std::ptrdiff_t>(i),
           candidates.begin() + static_cast<std::ptrdiff_t>(std::min(i + block, candidates.size()))},
          bytes, effort, control);
  for (const std::int32_t s : limited) raise(oracle, levels, {s}, bytes, effort, control);
}

// The cut of levels that `bytes` do not suffice for.
Cut cut_of(const LevelOracle& oracle, const Levels& levels, std::int64_t bytes) {
  const JointModel& model = oracle.model();
  // One byte more is missing than the bytes that do not suffice either.
  Cut cut{{}, bytes + 1 - model.capacity};
  bool is_plain = true;
  for (std::int32_t s = 0; s < model.storages(); ++s) {
    if (levels[index(s)] >= oracle.most()[index(s)]) continue;
    const std::int64_t weight = std::min(model.rounded[index(s)], cut.demand);
    is_plain = is_plain && weight == cut.demand;
    cut.members.push_back({s, levels[index(s)], weight});
  }
  if (is_plain) {
    cut.demand = 1;
    for (CutMember& member : cut.members) member.weight = 1;
  }
  return cut;
}

// The reasons of the last proof, which holds at these levels.
void add_clauses(LevelOracle& oracle, const Levels& levels, std::int64_t patience,
                 std::vector<Clause>& clauses, Control& control) {
  const std::vector<LevelOracle::Reason> proof = oracle.proof();
  for (const LevelOracle::Reason& reason : proof) {
    if (reason.level_of >= 0 || reason.choices.empty()) continue;
    const auto conflict = oracle.grown_conflict(reason, levels, patience, control);
    if (!conflict) continue;
    Clause& clause = clauses.emplace_back();
    for (const auto& [storage, stays] : conflict->choices) {
      for (const auto& [a, b] : oracle.rules(storage).joints(stays))
        clause.parted.push_back({storage, a, b});
      for (const auto& [a, b] : stays.apart) clause.joined.push_back({storage, a, b});
    }
    for (std::int32_t s = 0; s < oracle.model().storages(); ++s)
      if (!conflict->absent[index(s)] && oracle.most()[index(s)] > 0) clause.absent.push_back(s);
  }
}

// Raises, in growing steps, the level that is cheapest to raise: what the next cut would start from.
void climb(LevelOracle& oracle, Levels& levels, Limits limits, std::vector<Clause>& clauses,
           Control& control) {
  const JointModel& model = oracle.model();
  limits.max_nodes = std::min(limits.max_nodes, kClimbNodes);
  std::int32_t climber = -1, stride = 1, top = 0;
  for (;;) {
    std::int32_t cheapest = -1;
    std::int64_t least = kNever;
    for (std::int32_t s = 0; s < model.storages(); ++s) {
      const std::int32_t level = levels[index(s)];
      if (level >= oracle.most()[index(s)]) continue;
      const std::int64_t cost = model.write_cost(s) + (level + 1) * model.read_cost(s);
      if (cost >= least) continue;
      least = cost;
      cheapest = s;
    }
    if (cheapest < 0) return;
    std::int32_t& level = levels[index(cheapest)];
    if (cheapest != climber) {
      climber = cheapest;
      stride = 1;
      top = oracle.most()[index(cheapest)] - 1;
    }
    if (level >= top) return;
    Levels higher = levels;
    higher[index(cheapest)] = std::min(level + stride, top);
    if (oracle.decide(higher, limits, control) == Answer::kInfeasible) {
      levels = std::move(higher);
      add_clauses(oracle, levels, limits.expansions, clauses, control);
      stride *= 2;
    } else {
      if (control.stop_now()) return;
      top = higher[index(cheapest)] - 1;
      stride = std::max(1, (top - level) / 2);
    }
  }
}

// The largest number of bytes that a few decisions prove not to suffice for levels without limits;
// at least `low`, for which it is known.
std::int64_t most_infeasible_bytes(LevelOracle& oracle, const Levels& levels, std::int64_t low,
                                   std::int64_t patience, Control& control) {
  std::vector<char> absent;
  for (const std::int32_t level : levels) absent.push_back(level > 0);
  const order::OrderModel ordered = ordering(oracle.model(), absent);
  std::int64_t high =
      order::peak_of(ordered, order::list_order(ordered, order::ListRule::kDefault, 0));
  for (int i = 0; i < kBisections && high - low > 1 && !control.stop_now(); ++i) {
    const std::int64_t middle = low + (high - low) / 2;
    if (oracle.ask_root(levels, middle, patience, control) == Answer::kInfeasible)
      low = middle;
    else
      high = middle;
  }
  return low;
}

}  // namespace

CutSet find_cuts(LevelOracle& oracle, Levels levels, Limits limits, std::int64_t growth,
                 Control& control) {
  CutSet found{{}, {}, Answer::kLimit};
  const std::int64_t capacity = oracle.model().capacity;
  const std::int64_t expansions = limits.expansions;
  const std::int64_t first_expansion = oracle.expanded();
  for (;;) {
    const std::int64_t before = oracle.expanded();
    found.answer = oracle.decide(levels, limits, control);
    if (found.answer != Answer::kInfeasible) break;
    limits.expansions =
        std::min(expansions, std::max(kLeastPatience, growth * (oracle.expanded() - before)));
    const Effort effort{limits.expansions, kNever};
    const bool took_a_tree = oracle.took_a_tree();
    Levels grown = levels;
    grow(oracle, grown, capacity, effort, control);
    add_clauses(oracle, grown, limits.expansions, found.clauses, control);
    climb(oracle, grown, limits, found.clauses, control);
    Cut cut = cut_of(oracle, grown, capacity);
    if (!took_a_tree && !cut.members.empty()) {
      // Much may be missing: then one cut with weights says what many without would have to.
      std::int64_t smallest = kNever;
      for (const CutMember& member : cut.members)
        smallest = std::min(smallest, oracle.model().rounded[index(member.element)]);
      const std::int64_t some = capacity + smallest;
      if (oracle.ask_root(levels, some, effort.patience, control) == Answer::kInfeasible) {
        oracle.set_proof({{}});
        const std::int64_t bytes =
            most_infeasible_bytes(oracle, levels, some, effort.patience, control);
        Levels heavy_levels = levels;
        grow(oracle, heavy_levels, bytes, effort, control);
        Cut heavy = cut_of(oracle, heavy_levels, bytes);
        if (heavy.demand > 1) found.cuts.push_back(std::move(heavy));
      }
    }
    for (const CutMember& member : cut.members)
      levels[index(member.element)] = oracle.most()[index(member.element)];
    const bool is_hopeless = cut.members.empty();
    found.cuts.push_back(std::move(cut));
    if (is_hopeless) break;  // infeasible whatever may be absent
    if (oracle.expanded() - first_expansion > expansions) {
      found.answer = Answer::kLimit;
      break;
    }
  }
  return found;
}

Cut peak_cut(LevelOracle& oracle, std::int64_t bytes, std::int64_t patience, Control& control) {
  Levels levels(index(oracle.model().storages()), 0);
  oracle.set_proof({{}});
  grow(oracle, levels, bytes, {patience, oracle.expanded() + kPeakCutPatience * patience}, control);
  return cut_of(oracle, levels, bytes);
}

}  // namespace planner::joint
