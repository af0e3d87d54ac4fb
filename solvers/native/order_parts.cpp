#include "order_parts.hpp"

#include <algorithm>

namespace planner::order {

std::vector<Part> split(const OrderModel& model) {
  const std::int32_t n = model.operators;
  // All u < c are ancestors of c if and only if each of them has a successor <= c: follow smallest
  // successors. All w > c are descendants if and only if each has a predecessor >= c.
  std::vector<std::int32_t> lowest_after(index(n) + 1, n);  // over w > c: largest predecessor
  for (std::int32_t w = n - 1; w > 0; --w) {
    const Span predecessors = model.predecessors[w];
    const std::int32_t largest = predecessors.empty() ? -1 : *(predecessors.end() - 1);
    lowest_after[index(w - 1)] = std::min(lowest_after[index(w)], largest);
  }
  std::vector<Part> parts;
  std::int32_t open = 0;            // first operator of the part being collected
  std::int32_t highest_before = 0;  // over u < c: smallest successor
  for (std::int32_t c = 0; c < n; ++c) {
    if (highest_before <= c && lowest_after[index(c)] >= c) {
      if (open < c) parts.push_back({open, c});
      parts.push_back({c, c + 1});
      open = c + 1;
    }
    const Span successors = model.successors[c];
    highest_before = std::max(highest_before, successors.empty() ? n : *successors.begin());
  }
  if (open < n) parts.push_back({open, n});
  return parts;
}

PartModels::PartModels(const OrderModel& model)
    : model_(model),
      live_before_(index(model.operators) + 1, 0),
      storage_index_(model.size.size(), -1),
      number_(index(model.operators)) {
  std::vector<std::int64_t>& change = live_before_;
  change[0] = model.base;
  for (std::int32_t s = 0; s < model.storages(); ++s) {
    const Span starters = model.starters[s];
    const std::int64_t size = model.size[index(s)];
    change[starters.empty() ? 0 : index(*starters.begin()) + 1] += size;
    if (!model.kept[index(s)]) change[index(*(model.users[s].end() - 1)) + 1] -= size;
  }
  for (std::size_t i = 1; i < live_before_.size(); ++i) live_before_[i] += live_before_[i - 1];
}

OrderModel PartModels::of(Part part, const std::vector<std::int32_t>& numbering) {
  for (std::size_t i = 0; i < numbering.size(); ++i)
    number_[index(numbering[i])] = static_cast<std::int32_t>(i);
  ModelBuilder builder(part.size());
  std::int64_t base = live_before_[index(part.first)];
  std::vector<std::int32_t> touched, starters, users, predecessors, options;
  const auto inside = [&](Span row, std::vector<std::int32_t>& out) {
    out.clear();
    for (const std::int32_t v : row)
      if (v >= part.first && v < part.last) out.push_back(number_[index(v)]);
    std::sort(out.begin(), out.end());
  };
  for (const std::int32_t v : numbering)
    for (const std::int32_t s : model_.uses[v]) {
      std::int32_t& mapped = storage_index_[index(s)];
      if (mapped != -1) continue;
      const Span all_starters = model_.starters[s];
      const bool started = all_starters.empty() || *all_starters.begin() < part.first;
      const bool wanted = model_.kept[index(s)] || *(model_.users[s].end() - 1) >= part.last;
      inside(all_starters, starters);
      if (started) starters.clear();
      inside(model_.users[s], users);
      // What is started is in live_before_ already; add_storage counts it again.
      if (started) base -= model_.size[index(s)];
      mapped = builder.add_storage(model_.size[index(s)], wanted, starters, users);
      if (mapped == -1) mapped = -2;
      touched.push_back(s);
    }
  builder.add_base(base);
  for (const std::int32_t v : numbering) {
    inside(model_.predecessors[v], predecessors);
    options.clear();
    for (const std::int32_t s : model_.in_place[v]) options.push_back(storage_index_[index(s)]);
    builder.add_operator(predecessors, options);
  }
  for (const std::int32_t s : touched) storage_index_[index(s)] = -1;
  return builder.finish();
}

}  // namespace planner::order
