#include "joint_model.hpp"

#include <limits>
#include <utility>

namespace planner::joint {

namespace {

Rows read_rows(const order::RaggedView& view, std::int64_t count) {
  Rows rows;
  std::vector<std::int32_t> row;
  for (std::int64_t i = 0; i < count; ++i) {
    order::read_row(view, i, row);
    rows.add_row(row);
  }
  return rows;
}

// Storages of each operator, those without bytes left out.
Rows by_operator(const Rows& rows, const std::vector<std::int64_t>& size, std::int32_t operators) {
  Rows with_bytes;
  std::vector<std::int32_t> row;
  for (std::int32_t s = 0; s < rows.count(); ++s) {
    row.clear();
    if (size[index(s)] > 0) row.assign(rows[s].begin(), rows[s].end());
    with_bytes.add_row(row);
  }
  return transposed(with_bytes, operators);
}

}  // namespace

std::optional<std::string> build_model(const JointArrays& arrays, JointModel& model) {
  order::OrderModel checked;
  if (auto problem = order::build_model(arrays.order, checked)) return problem;
  const auto n = static_cast<std::int32_t>(arrays.order.operators);
  const auto m = static_cast<std::int32_t>(arrays.order.size_size);
  if (arrays.has_copy_size != arrays.order.size_size)
    return "has_copy: " + std::to_string(arrays.has_copy_size) + " values given, " +
           std::to_string(m) + " expected";
  if (auto problem = order::check_ragged(arrays.writers, "writers", m, n)) return problem;
  if (arrays.alignment < 1) return "alignment: " + std::to_string(arrays.alignment);
  if (arrays.capacity < 0 || arrays.capacity % arrays.alignment != 0)
    return "capacity: " + std::to_string(arrays.capacity) + " is no multiple of the alignment";

  model.operators = n;
  model.capacity = arrays.capacity;
  model.has_copy.assign(arrays.has_copy, arrays.has_copy + m);
  model.kept.assign(arrays.order.kept, arrays.order.kept + m);
  model.starters = read_rows(arrays.order.starters, m);
  model.users = read_rows(arrays.order.users, m);
  model.writers = read_rows(arrays.writers, m);
  model.predecessors = read_rows(arrays.order.predecessors, n);
  model.successors = transposed(model.predecessors, n);
  std::int64_t total = 0;
  for (std::int32_t s = 0; s < m; ++s) {
    const std::int64_t bytes = model.users[s].empty() ? 0 : arrays.order.size[s];
    if (bytes > order::kMaxTotalBytes - arrays.alignment) return "size: too large to be aligned";
    const std::int64_t rounded =
        (bytes + arrays.alignment - 1) / arrays.alignment * arrays.alignment;
    if (rounded > order::kMaxTotalBytes - total) return "size: the rounded sum exceeds 2**62 bytes";
    total += rounded;
    model.size.push_back(bytes);
    model.rounded.push_back(rounded);
    for (const std::int32_t v : model.writers[s])
      if (!model.users[s].contains(v))
        return "writers: storage " + std::to_string(s) + " has a writer that is no user of it";
  }
  model.uses = by_operator(model.users, model.rounded, n);
  model.starts = by_operator(model.starters, model.rounded, n);
  const Rows options = read_rows(arrays.order.in_place, n);
  std::vector<std::int32_t> usable;
  for (std::int32_t v = 0; v < n; ++v) {
    usable.clear();
    for (const std::int32_t s : options[v])
      if (model.rounded[index(s)] > 0 && !model.kept[index(s)]) usable.push_back(s);
    model.in_place.add_row(usable);
  }
  return std::nullopt;
}

order::OrderModel ordering(const JointModel& model, const std::vector<char>& absent) {
  order::ModelBuilder builder(model.operators);
  std::vector<std::int32_t> number(index(model.storages()), -1);
  std::vector<std::int32_t> starters, users;
  for (std::int32_t s = 0; s < model.storages(); ++s) {
    if (absent[index(s)]) continue;
    starters.assign(model.starters[s].begin(), model.starters[s].end());
    users.assign(model.users[s].begin(), model.users[s].end());
    number[index(s)] =
        builder.add_storage(model.rounded[index(s)], model.kept[index(s)], starters, users);
  }
  // What is absent otherwise is scratch of the operators that use it. One that may be overwritten
  // is scratch of its own, so that the gain is counted: whenever the operator runs, which is no
  // less than the truth.
  Rows overwritten;
  std::vector<std::int32_t> options;
  for (std::int32_t v = 0; v < model.operators; ++v) {
    const std::vector<std::int32_t> self{v};
    std::int64_t scratch = 0;
    options.clear();
    for (const std::int32_t s : model.uses[v]) {
      if (!absent[index(s)]) {
        if (model.in_place[v].contains(s)) options.push_back(number[index(s)]);
      } else if (model.in_place[v].contains(s)) {
        options.push_back(builder.add_storage(model.rounded[index(s)], false, self, self));
      } else {
        scratch += model.rounded[index(s)];
      }
    }
    builder.add_storage(scratch, false, self, self);
    overwritten.add_row(options);
  }
  std::vector<std::int32_t> predecessors;
  for (std::int32_t v = 0; v < model.operators; ++v) {
    predecessors.assign(model.predecessors[v].begin(), model.predecessors[v].end());
    options.assign(overwritten[v].begin(), overwritten[v].end());
    builder.add_operator(predecessors, options);
  }
  return builder.finish();
}

}  // namespace planner::joint
