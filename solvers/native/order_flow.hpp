// Maximum flow by Dinic's algorithm (Dinic, 1970), with its work counted.
#pragma once

#include <cstdint>
#include <vector>

#include "control.hpp"
#include "order_model.hpp"

namespace planner::order {

class FlowNetwork {
 public:
  static constexpr std::int32_t kSource = 0;
  static constexpr std::int32_t kSink = 1;

  // Empties the network; keeps the memory.
  void clear();
  std::int32_t add_node();
  void add_arc(std::int32_t from, std::int32_t to, std::int64_t capacity);

  // The maximum flow, or -1 once `work` (arcs looked at, counted down) is used up or the control
  // says stop.
  std::int64_t maximum_flow(std::int64_t& work, Control& control);

  // After maximum_flow: whether the node is on the source side of the minimum cut found.
  bool on_source_side(std::int32_t node) const { return level_[index(node)] >= 0; }

 private:
  struct Arc {
    std::int32_t to;
    std::int32_t next;  // next arc out of the same node, or -1; the reverse arc is index ^ 1
    std::int64_t residual;
  };

  bool find_levels(std::int64_t& work);
  std::int64_t augment_once(std::int64_t& work);

  std::vector<std::int32_t> first_;  // of a node's arcs, or -1
  std::vector<Arc> arcs_;
  std::vector<std::int32_t> level_, current_, queue_, path_;
};

}  // namespace planner::order
