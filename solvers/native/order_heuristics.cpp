#include "order_heuristics.hpp"

#include <algorithm>
#include <functional>
#include <numeric>
#include <queue>
#include <random>
#include <tuple>

namespace planner::order {

namespace {

// The counters of a downset, and the growth of every operator kept up to date. As growth only
// falls while the downset grows, a heap with entries for outdated values works.
class GrowthTracker {
 public:
  explicit GrowthTracker(const OrderModel& model)
      : model_(model),
        missing_(index(model.operators)),
        remaining_(model.size.size()),
        remaining_sum_(model.size.size(), 0),
        started_(model.size.size()),
        growth_(index(model.operators), 0) {
    for (std::int32_t v = 0; v < model.operators; ++v)
      missing_[index(v)] = model.predecessors[v].size();
    for (std::int32_t s = 0; s < model.storages(); ++s) {
      remaining_[index(s)] = model.users[s].size() + model.kept[index(s)];
      for (const std::int32_t k : model.users[s])
        remaining_sum_[index(s)] += static_cast<std::uint32_t>(k);
      started_[index(s)] = model.starters[s].empty() ? 1 : 0;
      for (const std::int32_t p : model.starters[s]) growth_[index(p)] += model.size[index(s)];
      if (remaining_[index(s)] == 1) growth_[index(last_user(s))] -= model.size[index(s)];
    }
  }

  std::int64_t growth(std::int32_t v) const { return growth_[index(v)]; }
  bool is_ready(std::int32_t v) const { return missing_[index(v)] == 0; }

  // Calls enabled(q) for each operator that became ready, cheaper(k) for each whose growth fell.
  template <class Enabled, class Cheaper>
  void run(std::int32_t v, Enabled enabled, Cheaper cheaper) {
    for (const std::int32_t s : model_.starts[v]) {
      if (started_[index(s)]++ != 0) continue;
      for (const std::int32_t p : model_.starters[s]) {
        growth_[index(p)] -= model_.size[index(s)];
        if (p != v) cheaper(p);
      }
    }
    for (const std::int32_t s : model_.uses[v]) {
      remaining_sum_[index(s)] -= static_cast<std::uint32_t>(v);
      if (--remaining_[index(s)] != 1 || model_.kept[index(s)]) continue;
      const std::int32_t k = last_user(s);
      growth_[index(k)] -= model_.size[index(s)];
      cheaper(k);
    }
    for (const std::int32_t q : model_.successors[v])
      if (--missing_[index(q)] == 0) enabled(q);
  }

 private:
  std::int32_t last_user(std::int32_t s) const {
    return static_cast<std::int32_t>(remaining_sum_[index(s)]);
  }

  const OrderModel& model_;
  std::vector<std::int32_t> missing_, remaining_;
  std::vector<std::uint32_t> remaining_sum_;
  std::vector<std::int32_t> started_;
  std::vector<std::int64_t> growth_;
};

std::int64_t median_size(const OrderModel& model) {
  if (model.size.empty()) return 0;
  std::vector<std::int64_t> sizes = model.size;
  const auto middle = sizes.begin() + static_cast<std::ptrdiff_t>(sizes.size() / 2);
  std::nth_element(sizes.begin(), middle, sizes.end());
  return *middle;
}

}  // namespace

Order list_order(const OrderModel& model, ListRule rule, std::uint64_t seed) {
  Order order;
  if (rule == ListRule::kDefault) {
    order.resize(index(model.operators));
    std::iota(order.begin(), order.end(), 0);
    return order;
  }
  order.reserve(index(model.operators));
  GrowthTracker tracker(model);
  std::mt19937_64 random(seed);
  // Twice the blur plus a growth has to fit into 64 bits.
  const std::int64_t blur =
      rule == ListRule::kNoisy ? std::min(median_size(model), kMaxTotalBytes / 2 - 1) : 0;
  std::vector<std::int32_t> ready_since(index(model.operators), 0);
  std::vector<std::int64_t> noise(rule == ListRule::kNoisy ? index(model.operators) : 0);
  std::vector<std::int64_t> tie(noise.size());
  std::vector<char> ran(index(model.operators), 0);

  using Key = std::tuple<std::int64_t, std::int64_t, std::int32_t>;
  std::priority_queue<Key, std::vector<Key>, std::greater<>> queue;
  const auto push = [&](std::int32_t v) {
    const std::int64_t since = ready_since[index(v)];
    const std::int64_t growth = tracker.growth(v);
    switch (rule) {
      case ListRule::kDefault: break;
      case ListRule::kLeastLive: queue.emplace(growth, -since, v); break;
      case ListRule::kDepthFirst: queue.emplace(-since, growth, v); break;
      case ListRule::kBreadthFirst: queue.emplace(since, v, v); break;
      case ListRule::kNoisy: queue.emplace(growth + noise[index(v)], tie[index(v)], v); break;
    }
  };
  const auto enabled = [&](std::int32_t v) {
    ready_since[index(v)] = static_cast<std::int32_t>(order.size());
    if (rule == ListRule::kNoisy) {
      noise[index(v)] = static_cast<std::int64_t>(random() % 3) * blur;
      tie[index(v)] = static_cast<std::int64_t>(random() % 1024);
    }
    push(v);
  };
  const auto cheaper = [&](std::int32_t v) {
    if (!ran[index(v)] && tracker.is_ready(v)) push(v);
  };

  for (std::int32_t v = 0; v < model.operators; ++v)
    if (tracker.is_ready(v)) enabled(v);
  while (!queue.empty()) {
    const std::int32_t v = std::get<2>(queue.top());
    queue.pop();
    if (ran[index(v)]) continue;
    ran[index(v)] = 1;
    order.push_back(v);
    tracker.run(v, enabled, cheaper);
  }
  return order;
}

Order demand_order(const OrderModel& model) {
  // Not integers: where the graph is no tree, what is shared counts again and again.
  std::vector<double> leaves(index(model.operators), 0.0);  // bytes started
  std::vector<double> need(index(model.operators), 0.0);    // of the tree above it, as if alone
  Rows by_urgency;
  std::vector<std::int32_t> row;
  for (std::int32_t v = 0; v < model.operators; ++v) {
    for (const std::int32_t s : model.starts[v])
      leaves[index(v)] += static_cast<double>(model.size[index(s)]);
    row.assign(model.predecessors[v].begin(), model.predecessors[v].end());
    std::stable_sort(row.begin(), row.end(), [&](std::int32_t a, std::int32_t b) {
      return need[index(a)] - leaves[index(a)] > need[index(b)] - leaves[index(b)];
    });
    double held = 0.0;
    for (const std::int32_t p : row) {
      need[index(v)] = std::max(need[index(v)], held + need[index(p)]);
      held += leaves[index(p)];
    }
    need[index(v)] = std::max(need[index(v)], held + leaves[index(v)]);
    by_urgency.add_row(row);
  }
  Order order;
  order.reserve(index(model.operators));
  std::vector<std::int32_t> next(index(model.operators), -1);  // predecessor to look at; -1: unseen
  std::vector<std::int32_t> stack;
  for (std::int32_t sink = 0; sink < model.operators; ++sink) {
    if (!model.successors[sink].empty()) continue;
    stack.assign(1, sink);
    while (!stack.empty()) {
      const std::int32_t v = stack.back();
      std::int32_t& i = next[index(v)];
      if (i < 0) i = 0;
      const Span predecessors = by_urgency[v];
      while (i < predecessors.size() && next[index(predecessors.first[i])] >= 0) ++i;
      if (i < predecessors.size()) {
        stack.push_back(predecessors.first[i++]);
      } else {
        order.push_back(v);
        stack.pop_back();
      }
    }
  }
  return order;
}

std::vector<std::int64_t> transients(const OrderModel& model, const Order& order) {
  std::vector<std::int64_t> result(index(model.operators));
  std::vector<std::int32_t> remaining(model.size.size());
  std::vector<char> started(model.size.size());
  std::int64_t live = live_at_start(model);
  for (std::int32_t s = 0; s < model.storages(); ++s) {
    remaining[index(s)] = model.users[s].size() + model.kept[index(s)];
    started[index(s)] = model.starters[s].empty();
  }
  for (const std::int32_t v : order) {
    for (const std::int32_t s : model.starts[v]) {
      if (started[index(s)]) continue;
      started[index(s)] = 1;
      live += model.size[index(s)];
    }
    std::int64_t gain = 0;
    for (const std::int32_t s : model.in_place[v])
      if (remaining[index(s)] == 1) gain = std::max(gain, model.size[index(s)]);
    result[index(v)] = live - gain;
    for (const std::int32_t s : model.uses[v])
      if (--remaining[index(s)] == 0) live -= model.size[index(s)];
  }
  return result;
}

std::int64_t peak_of(const OrderModel& model, const Order& order) {
  std::int64_t peak = live_at_start(model);
  for (const std::int64_t transient : transients(model, order)) peak = std::max(peak, transient);
  return peak;
}

bool is_topological(const OrderModel& model, const Order& order) {
  if (order.size() != index(model.operators)) return false;
  std::vector<char> ran(order.size(), 0);
  for (const std::int32_t v : order) {
    if (v < 0 || v >= model.operators || ran[index(v)]) return false;
    for (const std::int32_t p : model.predecessors[v])
      if (!ran[index(p)]) return false;
    ran[index(v)] = 1;
  }
  return true;
}

}  // namespace planner::order
