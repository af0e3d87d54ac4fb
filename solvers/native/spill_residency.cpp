#include "spill_residency.hpp"

#include <algorithm>
#include <limits>
#include <tuple>

namespace planner::joint {

namespace {

// Steps after `first` and before `last`, at both of which the storage has to be resident.
struct Gap {
  int priority;  // smaller ones are closed first
  std::int32_t storage;
  std::int32_t first, last;
};

}  // namespace

Residency reside(const JointModel& model, const order::Order& order,
                 const std::vector<char>& absent, const std::vector<Group>& groups) {
  const std::int32_t n = model.operators;
  const std::int32_t m = model.storages();
  Residency result;
  result.absences.assign(index(m), 0);
  result.fits = true;
  if (n == 0) return result;
  std::vector<std::int32_t> step(index(n));
  for (std::int32_t i = 0; i < n; ++i) step[index(order[index(i)])] = i;

  std::vector<std::int64_t> room(index(n), model.capacity);
  std::vector<std::int64_t> born(index(n), 0);
  std::vector<std::int32_t> birth_step(index(m), -1), last_use(index(m), -1);
  std::vector<Gap> gaps;
  std::vector<std::int32_t> needed;
  for (std::int32_t s = 0; s < m; ++s) {
    if (model.rounded[index(s)] == 0) continue;
    needed.clear();
    for (const std::int32_t v : model.users[s]) needed.push_back(step[index(v)]);
    std::int32_t birth = n;
    for (const std::int32_t v : model.starters[s]) birth = std::min(birth, step[index(v)]);
    if (model.starters[s].empty()) needed.push_back(0);
    last_use[index(s)] = *std::max_element(needed.begin(), needed.end());
    if (model.kept[index(s)]) needed.push_back(n - 1);
    if (birth < n) {
      born[index(birth)] += model.rounded[index(s)];
      birth_step[index(s)] = birth;
    }
    std::sort(needed.begin(), needed.end());
    needed.erase(std::unique(needed.begin(), needed.end()), needed.end());
    std::int32_t first_writer = n, last_writer = -1;
    for (const std::int32_t v : model.writers[s]) {
      first_writer = std::min(first_writer, step[index(v)]);
      last_writer = std::max(last_writer, step[index(v)]);
    }
    for (const std::int32_t t : needed) room[index(t)] -= model.rounded[index(s)];
    for (std::size_t i = 1; i < needed.size(); ++i) {
      const std::int32_t first = needed[i - 1];
      const std::int32_t last = needed[i];
      if (last - first < 2) continue;
      if (first >= first_writer && last <= last_writer) {
        for (std::int32_t t = first + 1; t < last; ++t) room[index(t)] -= model.rounded[index(s)];
        continue;
      }
      gaps.push_back({absent[index(s)] ? 2 : 0, s, first, last});
    }
  }
  for (std::int32_t t = 0; t < n; ++t) {
    std::int64_t gain = 0;
    for (const std::int32_t s : model.in_place[order[index(t)]])
      if (last_use[index(s)] == t && birth_step[index(s)] != t) gain = std::max(gain, model.rounded[index(s)]);
    room[index(t)] += std::min(gain, born[index(t)]);
    if (room[index(t)] < 0) result.fits = false;
  }
  for (const Group& group : groups) {
    std::int32_t first = group.from_beginning ? 0 : n;
    std::int32_t last = group.to_end ? n - 1 : -1;
    for (const std::int32_t v : group.operators) {
      first = std::min(first, step[index(v)]);
      last = std::max(last, step[index(v)]);
    }
    for (Gap& gap : gaps)
      if (gap.storage == group.storage && gap.first >= first && gap.last <= last)
        gap.priority = std::min(gap.priority, 1);
  }
  std::sort(gaps.begin(), gaps.end(), [&](const Gap& a, const Gap& b) {
    const auto key = [&](const Gap& gap) {
      return std::tuple(gap.priority, -model.size[index(gap.storage)], gap.last - gap.first,
                        gap.storage, gap.first);
    };
    return key(a) < key(b);
  });
  for (const Gap& gap : gaps) {
    const std::int64_t bytes = model.rounded[index(gap.storage)];
    bool closes = true;
    for (std::int32_t t = gap.first + 1; t < gap.last && closes; ++t)
      closes = room[index(t)] >= bytes;
    if (closes) {
      for (std::int32_t t = gap.first + 1; t < gap.last; ++t) room[index(t)] -= bytes;
      continue;
    }
    if (result.absences[index(gap.storage)]++ == 0)
      result.traffic += model.write_cost(gap.storage);
    result.traffic += model.read_cost(gap.storage);
    result.gaps.push_back({gap.storage, gap.first, gap.last});
  }
  return result;
}

}  // namespace planner::joint
