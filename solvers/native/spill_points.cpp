#include "spill_points.hpp"

#include <algorithm>
#include <utility>

namespace planner::joint {

namespace {

std::vector<std::int32_t> to_vector(Span span) { return {span.begin(), span.end()}; }

// Marks the operators that have to run after any of these.
std::vector<char> descendants(const JointModel& model, const Group& point) {
  std::vector<char> marked(index(model.operators), 0);
  std::vector<std::int32_t> stack = point.operators;
  while (!stack.empty()) {
    const std::int32_t v = stack.back();
    stack.pop_back();
    for (const std::int32_t q : model.successors[v]) {
      if (marked[index(q)]) continue;
      marked[index(q)] = 1;
      stack.push_back(q);
    }
  }
  return marked;
}

// before[a][b]: some operator of point a has to run before some of b.
std::vector<std::vector<char>> precedence(const JointModel& model,
                                          const std::vector<Group>& points) {
  std::vector<std::vector<char>> before;
  for (const Group& a : points) {
    const std::vector<char> after_a = descendants(model, a);
    std::vector<char>& row = before.emplace_back();
    for (const Group& b : points) {
      const bool forced = a.from_beginning || b.to_end ||
                          std::any_of(b.operators.begin(), b.operators.end(),
                                      [&](std::int32_t v) { return after_a[index(v)]; });
      row.push_back(&a != &b && forced);
    }
  }
  return before;
}

// Whether the groups (of each point, its group) can follow one another in time.
bool separable(const std::vector<std::vector<char>>& before, const std::vector<int>& group_of,
               int count) {
  std::vector<char> left(static_cast<std::size_t>(count), 1);
  for (int removed = 0; removed < count; ++removed) {
    int first = -1;
    for (int g = 0; g < count && first < 0; ++g) {
      if (!left[static_cast<std::size_t>(g)]) continue;
      bool waits = false;
      for (std::size_t a = 0; a < group_of.size() && !waits; ++a)
        for (std::size_t b = 0; b < group_of.size() && !waits; ++b)
          waits = before[a][b] && group_of[b] == g && group_of[a] != g &&
                  left[static_cast<std::size_t>(group_of[a])];
      if (!waits) first = g;
    }
    if (first < 0) return false;
    left[static_cast<std::size_t>(first)] = 0;
  }
  return true;
}

std::vector<Group> joined(const std::vector<Group>& points, const std::vector<int>& group_of,
                          int count) {
  std::vector<Group> groups(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < points.size(); ++i) {
    Group& group = groups[static_cast<std::size_t>(group_of[i])];
    group.storage = points[i].storage;
    group.operators.insert(group.operators.end(), points[i].operators.begin(),
                           points[i].operators.end());
    group.from_beginning = group.from_beginning || points[i].from_beginning;
    group.to_end = group.to_end || points[i].to_end;
  }
  for (Group& group : groups) std::sort(group.operators.begin(), group.operators.end());
  return groups;
}

}  // namespace

std::vector<Group> points(const JointModel& model, std::int32_t storage) {
  std::vector<Group> found;
  if (model.rounded[index(storage)] == 0) return found;
  const Span writers = model.writers[storage];
  if (model.starters[storage].empty()) found.push_back({storage, {}, true, false});
  if (!writers.empty()) found.push_back({storage, to_vector(writers), false, false});
  for (const std::int32_t v : model.users[storage])
    if (!writers.contains(v)) found.push_back({storage, {v}, false, false});
  if (model.kept[index(storage)]) found.push_back({storage, {}, false, true});
  return found;
}

std::int32_t most_absences(const JointModel& model, std::int32_t storage) {
  if (model.rounded[index(storage)] == 0) return 0;
  std::int32_t count = model.writers[storage].empty() ? 0 : 1;
  for (const std::int32_t v : model.users[storage])
    if (!model.writers[storage].contains(v)) ++count;
  if (model.starters[storage].empty()) ++count;
  if (model.kept[index(storage)]) ++count;
  return std::max(count - 1, 0);
}

std::vector<std::vector<Group>> groupings(const JointModel& model, std::int32_t storage,
                                          std::int32_t count, std::int32_t limit) {
  constexpr std::int64_t kMaxLooks = 20'000;
  const std::vector<Group> all = points(model, storage);
  const auto before = precedence(model, all);
  std::vector<std::vector<Group>> result;
  // Restricted growth strings: a point opens a new group or joins an open one.
  std::vector<int> group_of(all.size(), 0);
  std::int64_t looks = 0;
  bool too_many = false;
  const auto assign = [&](auto&& self, std::size_t i, int open) -> void {
    if (too_many) return;
    if (static_cast<std::size_t>(count - open) > all.size() - i) return;
    if (i == all.size()) {
      too_many = ++looks > kMaxLooks;
      if (!separable(before, group_of, count)) return;
      result.push_back(joined(all, group_of, count));
      too_many = too_many || static_cast<std::int32_t>(result.size()) > limit;
      return;
    }
    for (int g = 0; g < std::min(open + 1, count); ++g) {
      group_of[i] = g;
      self(self, i + 1, std::max(open, g + 1));
    }
  };
  assign(assign, 0, 0);
  if (too_many) result.clear();
  return result;
}

JointModel with_groups(const JointModel& model, const std::vector<Group>& groups) {
  JointModel grouped = model;
  std::vector<std::vector<std::int32_t>> taken(index(model.storages()));
  for (const Group& group : groups) {
    auto& of_storage = taken[index(group.storage)];
    of_storage.insert(of_storage.end(), group.operators.begin(), group.operators.end());
  }
  const auto without = [&](const Rows& rows) {
    Rows kept_rows;
    std::vector<std::int32_t> row;
    for (std::int32_t s = 0; s < rows.count(); ++s) {
      row.clear();
      const auto& gone = taken[index(s)];
      for (const std::int32_t v : rows[s])
        if (std::find(gone.begin(), gone.end(), v) == gone.end()) row.push_back(v);
      kept_rows.add_row(row);
    }
    return kept_rows;
  };
  grouped.users = without(model.users);
  grouped.starters = without(model.starters);
  grouped.writers = without(model.writers);
  for (const Group& group : groups) {
    const std::int32_t s = group.storage;
    grouped.size.push_back(model.size[index(s)]);
    grouped.rounded.push_back(model.rounded[index(s)]);
    grouped.has_copy.push_back(model.has_copy[index(s)]);
    grouped.kept.push_back(group.to_end);
    // The group begins with its first operator, which is a starter if it has all of them.
    std::vector<std::int32_t> starters = to_vector(model.starters[s]);
    if (starters.empty() || !std::includes(group.operators.begin(), group.operators.end(),
                                           starters.begin(), starters.end()))
      starters = group.operators;
    if (group.from_beginning) starters.clear();
    grouped.starters.add_row(starters);
    grouped.users.add_row(group.operators);
    grouped.writers.add_row({});
  }
  // A storage of which nothing is left needs no bytes.
  for (std::int32_t s = 0; s < model.storages(); ++s)
    if (grouped.users[s].empty()) grouped.size[index(s)] = grouped.rounded[index(s)] = 0;
  Rows with_bytes, starting;
  for (std::int32_t s = 0; s < grouped.storages(); ++s) {
    const bool counts = grouped.rounded[index(s)] > 0;
    with_bytes.add_row(counts ? to_vector(grouped.users[s]) : std::vector<std::int32_t>{});
    starting.add_row(counts ? to_vector(grouped.starters[s]) : std::vector<std::int32_t>{});
  }
  grouped.uses = order::transposed(with_bytes, model.operators);
  grouped.starts = order::transposed(starting, model.operators);
  // What may be overwritten is the stay that the operator belongs to.
  Rows in_place;
  for (std::int32_t v = 0; v < model.operators; ++v) {
    std::vector<std::int32_t> options;
    for (const std::int32_t s : model.in_place[v]) {
      std::int32_t option = s;
      for (std::size_t g = 0; g < groups.size(); ++g)
        if (groups[g].storage == s &&
            std::binary_search(groups[g].operators.begin(), groups[g].operators.end(), v))
          option = model.storages() + static_cast<std::int32_t>(g);
      if (!grouped.kept[index(option)]) options.push_back(option);
    }
    std::sort(options.begin(), options.end());
    in_place.add_row(options);
  }
  grouped.in_place = std::move(in_place);
  return grouped;
}

}  // namespace planner::joint
