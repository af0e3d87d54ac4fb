#include "order_bound.hpp"

#include <algorithm>
#include <numeric>
#include <utility>

namespace planner::order {

namespace {

constexpr std::int64_t kInfinite = kMaxTotalBytes + 1;

}  // namespace

std::int64_t footprint(const OrderModel& model, std::int32_t v) {
  std::int64_t bytes = model.base;
  const Span predecessors = model.predecessors[v];
  for (const std::int32_t s : model.uses[v]) {
    const Span starters = model.starters[s];
    const bool live = starters.empty() || starters.contains(v) ||
                      std::any_of(starters.begin(), starters.end(), [&](std::int32_t p) {
                        return predecessors.contains(p);
                      });
    if (live) bytes += model.size[index(s)];
  }
  std::int64_t gain = 0;
  for (const std::int32_t s : model.in_place[v]) gain = std::max(gain, model.size[index(s)]);
  return std::max(bytes - gain, model.base);
}

std::int64_t footprint_bound(const OrderModel& model) {
  std::int64_t bound = live_at_start(model);
  for (std::int32_t v = 0; v < model.operators; ++v) bound = std::max(bound, footprint(model, v));
  return bound;
}

CutBound::CutBound(const OrderModel& model)
    : model_(model), node_(index(model.operators)), best_((index(model.operators) + 63) / 64, 0) {}

// Ancestors of v belong to the source, v and its descendants to the sink, others are free unless
// the place in the group decides. False if v cannot have the place.
bool CutBound::classify(std::int32_t v, Place place, const std::vector<std::int32_t>& group,
                        std::int64_t& work) {
  constexpr std::int32_t kFree = -1;
  std::fill(node_.begin(), node_.end(), kFree);
  work -= model_.operators;
  const auto mark_all = [&](std::int32_t start, const Rows& neighbours, std::int32_t mark) {
    stack_.assign(1, start);
    while (!stack_.empty()) {
      const std::int32_t x = stack_.back();
      stack_.pop_back();
      for (const std::int32_t y : neighbours[x]) {
        --work;
        if (node_[index(y)] != kFree) continue;
        node_[index(y)] = mark;
        stack_.push_back(y);
      }
    }
  };
  mark_all(v, model_.predecessors, FlowNetwork::kSource);
  node_[index(v)] = FlowNetwork::kSink;
  mark_all(v, model_.successors, FlowNetwork::kSink);
  if (place != Place::kAnywhere) {
    const bool last = place == Place::kLast;
    const std::int32_t side = last ? FlowNetwork::kSource : FlowNetwork::kSink;
    for (const std::int32_t u : group) {
      if (u == v || node_[index(u)] == side) continue;
      if (node_[index(u)] != kFree) return false;
      node_[index(u)] = side;
      mark_all(u, last ? model_.predecessors : model_.successors, side);
    }
  }
  free_.clear();
  for (std::int32_t x = 0; x < model_.operators; ++x)
    if (node_[index(x)] == kFree) free_.push_back(x);
  return true;
}

// s costs its size if it is started (one of its starters on the source side, or there are none)
// and not done with (one of its users on the sink side, or it is kept).
void CutBound::add_storage(std::int32_t s) {
  const std::int64_t size = model_.size[index(s)];
  bool started = model_.starters[s].empty();
  free_starters_.clear();
  for (const std::int32_t p : model_.starters[s]) {
    const std::int32_t node = node_[index(p)];
    if (node == FlowNetwork::kSource)
      started = true;
    else if (node != FlowNetwork::kSink)
      free_starters_.push_back(node);
  }
  if (!started && free_starters_.empty()) return;
  bool wanted = model_.kept[index(s)];
  free_users_.clear();
  for (const std::int32_t k : model_.users[s]) {
    const std::int32_t node = node_[index(k)];
    if (node == FlowNetwork::kSink)
      wanted = true;
    else if (node != FlowNetwork::kSource)
      free_users_.push_back(node);
  }
  if (started && wanted) {
    constant_ += size;
    return;
  }
  if (!started && free_starters_.size() == 1) {
    // A single starter is on the source side whenever this storage costs anything.
    const auto self = std::find(free_users_.begin(), free_users_.end(), free_starters_[0]);
    if (self != free_users_.end()) free_users_.erase(self);
  }
  if (!wanted && free_users_.empty()) return;

  std::int32_t from = FlowNetwork::kSource;
  if (!started) {
    from = free_starters_[0];
    if (free_starters_.size() > 1) {
      from = network_.add_node();
      for (const std::int32_t p : free_starters_) network_.add_arc(p, from, kInfinite);
    }
  }
  std::int32_t to = FlowNetwork::kSink;
  if (!wanted) {
    to = free_users_[0];
    if (free_users_.size() > 1) {
      to = network_.add_node();
      for (const std::int32_t k : free_users_) network_.add_arc(to, k, kInfinite);
    }
  }
  network_.add_arc(from, to, size);
}

// Subtracts the operand's size, and charges it again unless all its other users are in D.
void CutBound::add_operand(std::int32_t v, std::int32_t operand) {
  free_users_.clear();
  for (const std::int32_t k : model_.users[operand]) {
    const std::int32_t node = node_[index(k)];
    if (k == v || node == FlowNetwork::kSource) continue;
    if (node == FlowNetwork::kSink) return;  // another user runs after v: no gain
    free_users_.push_back(node);
  }
  const std::int64_t size = model_.size[index(operand)];
  constant_ -= size;
  if (free_users_.empty()) return;
  const std::int32_t unfinished = network_.add_node();
  network_.add_arc(FlowNetwork::kSource, unfinished, size);
  for (const std::int32_t k : free_users_) network_.add_arc(unfinished, k, kInfinite);
}

std::int64_t CutBound::cut(std::int32_t v, std::int32_t operand, std::int64_t& work,
                           Control& control) {
  ++cuts_;
  network_.clear();
  constant_ = model_.base;
  for (const std::int32_t x : free_) node_[index(x)] = network_.add_node();
  for (const std::int32_t x : free_)
    for (const std::int32_t p : model_.predecessors[x])
      if (node_[index(p)] != FlowNetwork::kSource)
        network_.add_arc(node_[index(x)], node_[index(p)], kInfinite);
  const Span started_here = model_.starts[v];
  for (std::int32_t s = 0; s < model_.storages(); ++s) {
    if (model_.starters[s].contains(v)) continue;
    add_storage(s);
  }
  // Live before v or charged by it: either way once.
  for (const std::int32_t s : started_here) constant_ += model_.size[index(s)];
  if (operand >= 0) add_operand(v, operand);
  work -= static_cast<std::int64_t>(model_.users.values.size() + model_.starters.values.size());
  const std::int64_t flow = network_.maximum_flow(work, control);
  return flow < 0 ? -1 : flow + constant_;
}

std::int64_t CutBound::smallest_transient(std::int32_t v, Place place,
                                          const std::vector<std::int32_t>& group,
                                          std::int64_t enough, std::int64_t& work,
                                          Control& control) {
  if (!classify(v, place, group, work)) return kImpossible;
  std::int64_t smallest = -1;
  const auto try_operand = [&](std::int32_t operand) {
    const std::int64_t value = cut(v, operand, work, control);
    if (value < 0) return false;
    if (smallest < 0 || value < smallest) {
      smallest = value;
      std::fill(best_.begin(), best_.end(), 0);
      for (std::int32_t x = 0; x < model_.operators; ++x)
        if (network_.on_source_side(node_[index(x)]))
          best_[index(x) >> 6] |= std::uint64_t{1} << (x & 63);
    }
    return true;
  };
  if (model_.in_place[v].empty() && !try_operand(-1)) return -1;
  for (const std::int32_t operand : model_.in_place[v]) {
    if (!try_operand(operand)) return -1;
    if (smallest <= enough) break;
  }
  return smallest;
}

namespace {

constexpr std::size_t kMaxGroupSize = 64;

// Operators of which none is another's ancestor, taken greedily in descending order of weight.
std::vector<std::int32_t> heavy_antichain(const OrderModel& model,
                                          const std::vector<std::int64_t>& weight) {
  std::vector<std::int32_t> by_weight(index(model.operators));
  std::iota(by_weight.begin(), by_weight.end(), 0);
  std::stable_sort(by_weight.begin(), by_weight.end(), [&](std::int32_t a, std::int32_t b) {
    return weight[index(a)] > weight[index(b)];
  });
  std::vector<char> below(index(model.operators), 0);  // an ancestor of a member, or a member
  std::vector<char> above(index(model.operators), 0);  // a descendant of a member
  std::vector<std::int32_t> group, stack;
  for (const std::int32_t v : by_weight) {
    if (below[index(v)] || above[index(v)]) continue;
    if (group.size() == kMaxGroupSize) break;
    group.push_back(v);
    below[index(v)] = 1;
    for (const auto& [neighbours, marks] :
         {std::pair(&model.predecessors, &below), std::pair(&model.successors, &above)}) {
      stack.assign(1, v);
      while (!stack.empty()) {
        const std::int32_t x = stack.back();
        stack.pop_back();
        for (const std::int32_t y : (*neighbours)[x]) {
          if ((*marks)[index(y)]) continue;
          (*marks)[index(y)] = 1;
          stack.push_back(y);
        }
      }
    }
  }
  return group;
}

// The best bound from this group and the groups left when those operators are dropped that cannot
// raise the bound; at least `bound`.
std::int64_t group_bound(CutBound& cuts, CutBound::Place place, std::vector<std::int32_t> group,
                         std::int64_t bound, std::int64_t& work, Control& control) {
  while (group.size() > 1) {
    std::int64_t least = CutBound::kImpossible;
    // The lightest is the most likely to fail.
    for (std::size_t i = group.size(); i-- > 0 && least > bound;) {
      if (work < 0 || control.stop_now()) return bound;
      least =
          std::min(least, cuts.smallest_transient(group[i], place, group, bound, work, control));
      if (least <= bound) group.erase(group.begin() + static_cast<std::ptrdiff_t>(i));
    }
    if (least > bound) return least;
  }
  return bound;
}

}  // namespace

BoundResult cut_bound(const OrderModel& model, std::vector<std::int64_t> estimates,
                      std::int64_t floor, std::int64_t& work, Control& control) {
  std::vector<std::int32_t> by_estimate(index(model.operators));
  std::iota(by_estimate.begin(), by_estimate.end(), 0);
  std::stable_sort(by_estimate.begin(), by_estimate.end(), [&](std::int32_t a, std::int32_t b) {
    return estimates[index(a)] > estimates[index(b)];
  });
  CutBound cuts(model);
  Downset downset(model);
  std::int64_t bound = floor;
  for (const std::int32_t v : by_estimate) {
    if (estimates[index(v)] <= bound) continue;
    if (work < 0 || control.stop_now()) return {bound, cuts.cuts()};
    const std::int64_t value =
        cuts.smallest_transient(v, CutBound::Place::kAnywhere, {}, bound, work, control);
    if (value < 0) return {bound, cuts.cuts()};
    bound = std::max(bound, value);
    // The cut is a downset in which other operators may run, too.
    downset.move_to(cuts.downset());
    for (const std::int32_t x : downset.ready())
      estimates[index(x)] = std::min(estimates[index(x)], downset.transient(x));
  }

  std::vector<std::int64_t> footprints;
  for (std::int32_t v = 0; v < model.operators; ++v) footprints.push_back(footprint(model, v));
  for (const auto* weight : {&estimates, &footprints}) {
    work -= 2 * model.operators;
    const std::vector<std::int32_t> group = heavy_antichain(model, *weight);
    for (const auto place : {CutBound::Place::kLast, CutBound::Place::kFirst})
      bound = group_bound(cuts, place, group, bound, work, control);
  }
  return {bound, cuts.cuts()};
}

}  // namespace planner::order
