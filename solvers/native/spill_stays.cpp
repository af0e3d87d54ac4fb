#include "spill_stays.hpp"

#include <algorithm>
#include <tuple>

namespace planner::joint {

namespace {

std::vector<std::int32_t> to_vector(Span span) { return {span.begin(), span.end()}; }

std::vector<Group> points_of(const JointModel& model, std::int32_t storage) {
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

// Marks the operators that have to run after this one.
std::vector<char> descendants(const JointModel& model, std::int32_t operation) {
  std::vector<char> marked(index(model.operators), 0);
  std::vector<std::int32_t> stack{operation};
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

}  // namespace

std::int32_t most_absences(const JointModel& model, std::int32_t storage) {
  if (model.rounded[index(storage)] == 0) return 0;
  std::int32_t count = model.writers[storage].empty() ? 0 : 1;
  for (const std::int32_t v : model.users[storage])
    if (!model.writers[storage].contains(v)) ++count;
  if (model.starters[storage].empty()) ++count;
  if (model.kept[index(storage)]) ++count;
  return std::max(count - 1, 0);
}

bool Stays::operator<(const Stays& other) const {
  return std::tie(class_of, apart) < std::tie(other.class_of, other.apart);
}

bool Stays::operator==(const Stays& other) const {
  return std::tie(class_of, apart) == std::tie(other.class_of, other.apart);
}

bool implies(const Stays& strong, const Stays& weak) {
  for (std::size_t i = 0; i < weak.class_of.size(); ++i)
    if (strong.class_of[i] != strong.class_of[index(weak.class_of[i])]) return false;
  return std::all_of(weak.apart.begin(), weak.apart.end(), [&](const auto& pair) {
    return std::binary_search(strong.apart.begin(), strong.apart.end(),
                              std::minmax({strong.class_of[index(pair.first)],
                                           strong.class_of[index(pair.second)]}));
  });
}

StayRules::StayRules(const JointModel& model, std::int32_t storage)
    : points_(points_of(model, storage)) {
  const std::size_t count = points_.size();
  partly_before_.assign(count, std::vector<char>(count, 0));
  wholly_before_.assign(count, std::vector<char>(count, 0));
  for (std::size_t a = 0; a < count; ++a) {
    // From how many of its operators each operator descends.
    std::vector<std::size_t> above(index(model.operators), 0);
    for (const std::int32_t v : points_[a].operators) {
      const std::vector<char> after = descendants(model, v);
      for (std::size_t q = 0; q < after.size(); ++q) above[q] += after[q] ? 1 : 0;
    }
    for (std::size_t b = 0; b < count; ++b) {
      if (a == b) continue;
      const auto& operators = points_[b].operators;
      const bool at_ends = points_[a].from_beginning || points_[b].to_end;
      partly_before_[a][b] =
          at_ends || std::any_of(operators.begin(), operators.end(),
                                 [&](std::int32_t v) { return above[index(v)] > 0; });
      wholly_before_[a][b] =
          at_ends || (!points_[b].from_beginning && !points_[a].to_end &&
                      std::all_of(operators.begin(), operators.end(), [&](std::int32_t v) {
                        return above[index(v)] == points_[a].operators.size();
                      }));
    }
    unsettled_.class_of.push_back(static_cast<std::int32_t>(a));
  }
  close(unsettled_);
}

// Joins classes that can only overlap. False if some of them have to be apart.
bool StayRules::close(Stays& stays) const {
  auto& class_of = stays.class_of;
  const std::size_t count = points_.size();
  for (bool changed = true; changed;) {
    changed = false;
    // Of two classes: something of one has to run before something of the other.
    std::vector<std::vector<char>> before(count, std::vector<char>(count, 0));
    for (std::size_t a = 0; a < count; ++a)
      for (std::size_t b = 0; b < count; ++b)
        if (partly_before_[a][b]) before[index(class_of[a])][index(class_of[b])] = 1;
    for (std::size_t a = 0; a < count && !changed; ++a)
      for (std::size_t b = a + 1; b < count && !changed; ++b) {
        if (class_of[a] != static_cast<std::int32_t>(a) ||
            class_of[b] != static_cast<std::int32_t>(b) || !before[a][b] || !before[b][a])
          continue;
        std::replace(class_of.begin(), class_of.end(), class_of[b], class_of[a]);
        changed = true;
      }
  }
  for (auto& pair : stays.apart) {
    pair = std::minmax({class_of[index(pair.first)], class_of[index(pair.second)]});
    if (pair.first == pair.second) return false;
  }
  std::sort(stays.apart.begin(), stays.apart.end());
  stays.apart.erase(std::unique(stays.apart.begin(), stays.apart.end()), stays.apart.end());
  return true;
}

std::optional<Stays> StayRules::joined(Stays stays, std::int32_t a, std::int32_t b) const {
  const auto [first, second] =
      std::minmax({stays.class_of[index(a)], stays.class_of[index(b)]});
  std::replace(stays.class_of.begin(), stays.class_of.end(), second, first);
  if (!close(stays)) return std::nullopt;
  return stays;
}

std::optional<Stays> StayRules::parted(Stays stays, std::int32_t a, std::int32_t b) const {
  const std::pair<std::int32_t, std::int32_t> pair =
      std::minmax({stays.class_of[index(a)], stays.class_of[index(b)]});
  if (pair.first == pair.second) return std::nullopt;
  const auto place = std::lower_bound(stays.apart.begin(), stays.apart.end(), pair);
  if (place == stays.apart.end() || *place != pair) stays.apart.insert(place, pair);
  return stays;
}

std::vector<std::pair<std::int32_t, std::int32_t>> StayRules::joints(const Stays& stays) const {
  std::vector<std::pair<std::int32_t, std::int32_t>> found;
  const auto all_joined = [&] {
    Stays result = unsettled_;
    for (const auto& [a, b] : found)
      if (result.class_of[index(a)] != result.class_of[index(b)])
        result = *joined(std::move(result), a, b);
    return result.class_of == stays.class_of;
  };
  for (std::size_t i = 0; i < points_.size(); ++i)
    if (stays.class_of[i] != unsettled_.class_of[i])
      found.push_back({stays.class_of[i], static_cast<std::int32_t>(i)});
  for (std::size_t i = found.size(); i-- > 0;) {
    const auto pair = found[i];
    found.erase(found.begin() + static_cast<std::ptrdiff_t>(i));
    if (!all_joined()) found.insert(found.begin() + static_cast<std::ptrdiff_t>(i), pair);
  }
  return found;
}

Group StayRules::group(const Stays& stays, std::int32_t class_of) const {
  Group group;
  for (std::size_t i = 0; i < points_.size(); ++i) {
    if (stays.class_of[i] != class_of) continue;
    const Group& point = points_[i];
    group.storage = point.storage;
    group.operators.insert(group.operators.end(), point.operators.begin(), point.operators.end());
    group.from_beginning = group.from_beginning || point.from_beginning;
    group.to_end = group.to_end || point.to_end;
  }
  std::sort(group.operators.begin(), group.operators.end());
  return group;
}

bool StayRules::is_group(const Stays& stays, std::int32_t class_of) const {
  return group(stays, class_of).moments() > 1;
}

std::vector<Group> StayRules::groups(const Stays& stays) const {
  std::vector<Group> found;
  for (std::int32_t c = 0; c < static_cast<std::int32_t>(points_.size()); ++c) {
    if (stays.class_of[index(c)] != c) continue;
    Group candidate = group(stays, c);
    if (candidate.moments() > 1) found.push_back(std::move(candidate));
  }
  return found;
}

std::vector<std::pair<std::int32_t, std::int32_t>> StayRules::undecided(const Stays& stays) const {
  std::vector<std::pair<std::int32_t, std::int32_t>> found;
  const std::size_t count = points_.size();
  std::vector<char> solid(count, 0);
  for (std::size_t c = 0; c < count; ++c)
    solid[c] = is_group(stays, static_cast<std::int32_t>(c));
  for (std::size_t i = 0; i < count; ++i) {
    if (solid[index(stays.class_of[i])] || points_[i].operators.empty()) continue;
    for (std::size_t g = 0; g < count; ++g) {
      if (!solid[g]) continue;
      const auto pair =
          std::minmax({stays.class_of[i], static_cast<std::int32_t>(g)});
      if (std::binary_search(stays.apart.begin(), stays.apart.end(),
                             std::pair<std::int32_t, std::int32_t>(pair)))
        continue;
      bool first = true, last = true;  // before, after all of the group
      for (std::size_t j = 0; j < count; ++j) {
        if (stays.class_of[j] != static_cast<std::int32_t>(g)) continue;
        first = first && wholly_before_[i][j];
        last = last && wholly_before_[j][i];
      }
      if (!first && !last)
        found.push_back({static_cast<std::int32_t>(i), static_cast<std::int32_t>(g)});
    }
  }
  return found;
}

JointModel with_groups(const JointModel& model, const std::vector<Group>& groups,
                       const std::vector<std::pair<std::int32_t, std::int32_t>>& uncounted) {
  JointModel grouped = model;
  std::vector<std::vector<std::int32_t>> taken(index(model.storages()));
  for (const Group& group : groups) {
    auto& of_storage = taken[index(group.storage)];
    of_storage.insert(of_storage.end(), group.operators.begin(), group.operators.end());
  }
  for (const auto& [storage, v] : uncounted) taken[index(storage)].push_back(v);
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
