#include "order_flow.hpp"

#include <algorithm>
#include <limits>

namespace planner::order {

void FlowNetwork::clear() {
  first_.assign(2, -1);
  arcs_.clear();
}

std::int32_t FlowNetwork::add_node() {
  first_.push_back(-1);
  return static_cast<std::int32_t>(first_.size() - 1);
}

void FlowNetwork::add_arc(std::int32_t from, std::int32_t to, std::int64_t capacity) {
  arcs_.push_back({to, first_[index(from)], capacity});
  first_[index(from)] = static_cast<std::int32_t>(arcs_.size() - 1);
  arcs_.push_back({from, first_[index(to)], 0});
  first_[index(to)] = static_cast<std::int32_t>(arcs_.size() - 1);
}

// Distance from the source in the residual network, -1 where it does not lead.
bool FlowNetwork::find_levels(std::int64_t& work) {
  level_.assign(first_.size(), -1);
  level_[kSource] = 0;
  queue_.assign(1, kSource);
  for (std::size_t i = 0; i < queue_.size(); ++i) {
    const std::int32_t node = queue_[i];
    for (std::int32_t a = first_[index(node)]; a >= 0; a = arcs_[index(a)].next) {
      --work;
      const Arc& arc = arcs_[index(a)];
      if (arc.residual == 0 || level_[index(arc.to)] >= 0) continue;
      level_[index(arc.to)] = level_[index(node)] + 1;
      queue_.push_back(arc.to);
    }
  }
  return level_[kSink] >= 0;
}

// Sends flow along one path of the level network; 0 when there is none left. Not recursive: a
// path may be as long as the network is large.
std::int64_t FlowNetwork::augment_once(std::int64_t& work) {
  path_.clear();
  std::int32_t node = kSource;
  while (node != kSink) {
    std::int32_t& a = current_[index(node)];
    while (a >= 0) {
      --work;
      const Arc& arc = arcs_[index(a)];
      if (arc.residual > 0 && level_[index(arc.to)] == level_[index(node)] + 1) break;
      a = arc.next;
    }
    if (a >= 0) {
      path_.push_back(a);
      node = arcs_[index(a)].to;
    } else if (path_.empty()) {
      return 0;
    } else {
      const std::int32_t dead = path_.back();
      path_.pop_back();
      node = arcs_[index(dead ^ 1)].to;
      current_[index(node)] = arcs_[index(dead)].next;
    }
  }
  std::int64_t flow = std::numeric_limits<std::int64_t>::max();
  for (const std::int32_t a : path_) flow = std::min(flow, arcs_[index(a)].residual);
  for (const std::int32_t a : path_) {
    arcs_[index(a)].residual -= flow;
    arcs_[index(a ^ 1)].residual += flow;
  }
  work -= static_cast<std::int64_t>(path_.size());
  return flow;
}

std::int64_t FlowNetwork::maximum_flow(std::int64_t& work, Control& control) {
  std::int64_t total = 0;
  while (find_levels(work)) {
    current_ = first_;
    while (const std::int64_t flow = augment_once(work)) {
      total += flow;
      if (work < 0 || control.stop()) return -1;
    }
    if (work < 0 || control.stop_now()) return -1;
  }
  return total;
}

}  // namespace planner::order
