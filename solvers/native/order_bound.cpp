#include "order_bound.hpp"

#include <algorithm>
#include <numeric>

namespace planner::order {

namespace {

std::size_t index(std::int32_t i) { return static_cast<std::size_t>(i); }

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

// Ancestors of v belong to the source, v and its descendants to the sink, others are free.
void CutBound::classify(std::int32_t v, std::int64_t& work) {
  constexpr std::int32_t kFree = -1;
  std::fill(node_.begin(), node_.end(), kFree);
  work -= model_.operators;
  const auto mark_all = [&](const Rows& neighbours, std::int32_t mark) {
    stack_.assign(1, v);
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
  mark_all(model_.predecessors, FlowNetwork::kSource);
  node_[index(v)] = FlowNetwork::kSink;
  mark_all(model_.successors, FlowNetwork::kSink);
  free_.clear();
  for (std::int32_t x = 0; x < model_.operators; ++x)
    if (node_[index(x)] == kFree) free_.push_back(x);
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

std::int64_t CutBound::cut(std::int32_t v, std::int32_t operand, std::int64_t& work) {
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
  const std::int64_t flow = network_.maximum_flow(work);
  return flow < 0 ? -1 : flow + constant_;
}

std::int64_t CutBound::smallest_transient(std::int32_t v, std::int64_t enough,
                                          std::int64_t& work) {
  classify(v, work);
  std::int64_t smallest = -1;
  const auto try_operand = [&](std::int32_t operand) {
    const std::int64_t value = cut(v, operand, work);
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
    if (work < 0 || control.stop_now()) break;
    const std::int64_t value = cuts.smallest_transient(v, bound, work);
    if (value < 0) break;
    bound = std::max(bound, value);
    // The cut is a downset in which other operators may run, too.
    downset.move_to(cuts.downset());
    for (const std::int32_t x : downset.ready())
      estimates[index(x)] = std::min(estimates[index(x)], downset.transient(x));
  }
  return {bound, cuts.cuts()};
}

}  // namespace planner::order
