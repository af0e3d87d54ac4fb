#include "order_model.hpp"

#include <algorithm>
#include <limits>
#include <utility>

namespace planner::order {

bool Span::contains(std::int32_t value) const { return std::binary_search(first, last, value); }

void Rows::add_row(const std::vector<std::int32_t>& row) {
  values.insert(values.end(), row.begin(), row.end());
  offsets.push_back(static_cast<std::int64_t>(values.size()));
}

Rows transposed(const Rows& rows, std::int32_t count) {
  Rows result;
  result.offsets.assign(index(count) + 1, 0);
  result.values.resize(rows.values.size());
  for (const std::int32_t v : rows.values) ++result.offsets[index(v) + 1];
  for (std::size_t i = 1; i < result.offsets.size(); ++i)
    result.offsets[i] += result.offsets[i - 1];
  std::vector<std::int64_t> next(result.offsets.begin(), result.offsets.end() - 1);
  for (std::int32_t row = 0; row < rows.count(); ++row)
    for (const std::int32_t v : rows[row])
      result.values[static_cast<std::size_t>(next[index(v)]++)] = row;
  return result;
}

std::int64_t live_at_start(const OrderModel& model) {
  std::int64_t live = model.base;
  for (std::int32_t s = 0; s < model.storages(); ++s)
    if (model.starters[s].empty()) live += model.size[index(s)];
  return live;
}

std::int32_t ModelBuilder::add_storage(std::int64_t bytes, bool kept,
                                       const std::vector<std::int32_t>& starters,
                                       const std::vector<std::int32_t>& users) {
  if (bytes == 0) return -1;
  if (starters.empty() && kept) {
    model_.base += bytes;
    return -1;
  }
  if (users.empty()) return -1;
  model_.size.push_back(bytes);
  model_.kept.push_back(kept ? 1 : 0);
  model_.starters.add_row(starters);
  model_.users.add_row(users);
  return model_.storages() - 1;
}

void ModelBuilder::add_operator(const std::vector<std::int32_t>& predecessors,
                                const std::vector<std::int32_t>& in_place) {
  model_.predecessors.add_row(predecessors);
  // A kept storage is live to the end, so nothing may ever overwrite it.
  std::vector<std::int32_t> usable;
  for (const std::int32_t s : in_place)
    if (s >= 0 && !model_.kept[index(s)]) usable.push_back(s);
  model_.in_place.add_row(usable);
}

OrderModel ModelBuilder::finish() {
  model_.successors = transposed(model_.predecessors, model_.operators);
  model_.uses = transposed(model_.users, model_.operators);
  model_.starts = transposed(model_.starters, model_.operators);
  return std::move(model_);
}

std::optional<std::string> check_ragged(const RaggedView& rows, const std::string& name,
                                        std::int64_t row_count, std::int64_t value_limit) {
  if (rows.offsets_size != static_cast<std::size_t>(row_count) + 1)
    return name + ": " + std::to_string(rows.offsets_size) + " offsets given, " +
           std::to_string(row_count + 1) + " expected";
  if (rows.offsets[0] != 0) return name + ": the first offset is not 0";
  for (std::int64_t i = 0; i < row_count; ++i)
    if (rows.offsets[i + 1] < rows.offsets[i])
      return name + ": offsets fall at row " + std::to_string(i);
  if (rows.offsets[row_count] != static_cast<std::int64_t>(rows.values_size))
    return name + ": the last offset is " + std::to_string(rows.offsets[row_count]) + ", but " +
           std::to_string(rows.values_size) + " values are given";
  for (std::size_t i = 0; i < rows.values_size; ++i)
    if (rows.values[i] < 0 || rows.values[i] >= value_limit)
      return name + ": index " + std::to_string(rows.values[i]) + " is not in [0, " +
             std::to_string(value_limit) + ")";
  return std::nullopt;
}

void read_row(const RaggedView& rows, std::int64_t row, std::vector<std::int32_t>& out) {
  out.assign(rows.values + rows.offsets[row], rows.values + rows.offsets[row + 1]);
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
}

std::optional<std::string> build_model(const OrderArrays& arrays, OrderModel& model) {
  constexpr std::int64_t kMaxIndex = std::numeric_limits<std::int32_t>::max() - 1;
  const std::int64_t n = arrays.operators;
  if (n < 0 || n > kMaxIndex) return "operators: " + std::to_string(n) + " is out of range";
  if (arrays.size_size > static_cast<std::size_t>(kMaxIndex)) return "size: too many storages";
  const auto m = static_cast<std::int64_t>(arrays.size_size);
  if (arrays.kept_size != arrays.size_size)
    return "kept: " + std::to_string(arrays.kept_size) + " values given, " + std::to_string(m) +
           " expected";
  for (const auto& problem : {check_ragged(arrays.predecessors, "predecessors", n, n),
                              check_ragged(arrays.starters, "starters", m, n),
                              check_ragged(arrays.users, "users", m, n),
                              check_ragged(arrays.in_place, "in_place", n, m)})
    if (problem) return problem;

  std::int64_t total = 0;
  for (std::int64_t s = 0; s < m; ++s) {
    if (arrays.size[s] < 0) return "size: storage " + std::to_string(s) + " has a negative size";
    if (arrays.size[s] > kMaxTotalBytes - total) return "size: the sum exceeds 2**62 bytes";
    total += arrays.size[s];
  }

  ModelBuilder builder(static_cast<std::int32_t>(n));
  std::vector<std::int32_t> starters, users, predecessors, options;
  std::vector<std::int32_t> model_index(static_cast<std::size_t>(m));  // -1 if left out
  Rows all_users;
  for (std::int64_t s = 0; s < m; ++s) {
    read_row(arrays.starters, s, starters);
    read_row(arrays.users, s, users);
    if (!std::includes(users.begin(), users.end(), starters.begin(), starters.end()))
      return "starters: storage " + std::to_string(s) + " has a starter that is no user of it";
    model_index[static_cast<std::size_t>(s)] =
        builder.add_storage(arrays.size[s], arrays.kept[s], starters, users);
    all_users.add_row(users);
  }
  for (std::int64_t v = 0; v < n; ++v) {
    read_row(arrays.predecessors, v, predecessors);
    if (!predecessors.empty() && predecessors.back() >= v)
      return "predecessors: " + std::to_string(predecessors.back()) + " must run before operator " +
             std::to_string(v) + ", but does not come before it in the default order";
    read_row(arrays.in_place, v, options);
    for (std::int32_t& s : options) {
      if (!all_users[s].contains(static_cast<std::int32_t>(v)))
        return "in_place: operator " + std::to_string(v) + " may overwrite storage " +
               std::to_string(s) + ", but is no user of it";
      s = model_index[index(s)];
    }
    builder.add_operator(predecessors, options);
  }
  model = builder.finish();
  return std::nullopt;
}

}  // namespace planner::order
