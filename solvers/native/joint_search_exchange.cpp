#include "joint_search_exchange.hpp"

#include <algorithm>
#include <numeric>
#include <tuple>

namespace planner::joint {

Exchange::Exchange(const JointModel& model, std::int32_t first, std::int32_t last)
    : model_(model), first_(first), last_(last) {
  const std::size_t count = index(last - first);
  const std::size_t words = (count + 63) / 64;
  if (static_cast<std::int64_t>(8 * count * words) > kLargestTableBytes) return;
  words_ = words;
  after_.assign(count * words, 0);
  for (std::int32_t v = last - 1; v >= first; --v) {
    std::uint64_t* row = after_.data() + index(v - first) * words;
    row[index(v - first) >> 6] |= std::uint64_t{1} << ((v - first) & 63);
    for (const std::int32_t q : model.successors[v]) {
      if (q >= last) continue;
      const std::uint64_t* other = after_.data() + index(q - first) * words;
      for (std::size_t word = 0; word < words; ++word) row[word] |= other[word];
    }
  }
}

// Whether w is v or can only run after v.
bool Exchange::reaches(std::int32_t v, std::int32_t w) const {
  if (w >= last_) return v < last_ || v == w;
  if (v >= last_) return false;
  return after_[index(v - first_) * words_ + (index(w - first_) >> 6)] >> ((w - first_) & 63) & 1;
}

// Whether t may leave in place of s.
bool Exchange::may_replace(const Residency& residency, std::size_t s, std::size_t t) const {
  const Candidate& leaves = candidates_[s];
  const Candidate& stays = candidates_[t];
  if (model_.size[index(leaves.storage)] != model_.size[index(stays.storage)] ||
      residency.cost_of_absence(stays.storage) > leaves.cost)
    return false;
  if (!leaves.dies && !(leaves.write_free && stays.write_free)) return false;
  return std::all_of(stays.users.begin(), stays.users.end(), [&](std::int32_t w) {
    return std::any_of(leaves.users.begin(), leaves.users.end(),
                       [&](std::int32_t v) { return reaches(v, w); });
  });
}

void Exchange::sort(const Residency& residency, std::vector<std::int32_t>& candidates) {
  const std::size_t count = candidates.size();
  std::sort(candidates.begin(), candidates.end());
  if (candidates_.size() < count) candidates_.resize(count);
  if (before_.size() < count) before_.resize(count);
  for (std::size_t i = 0; i < count; ++i) {
    const std::int32_t s = candidates[i];
    Candidate& candidate = candidates_[i];
    candidate.storage = s;
    candidate.cost = residency.cost_of_absence(s);
    candidate.write_free = candidate.cost == model_.read_cost(s);
    candidate.users.clear();
    for (const std::int32_t v : model_.users[s])
      if (!residency.has_run(v)) candidate.users.push_back(v);
    candidate.dies = candidate.users.size() == 1 && !model_.kept[index(s)];
    candidate.better.clear();
    candidate.rank = 0;
  }
  for (std::size_t s = 0; words_ > 0 && s < count; ++s)
    for (std::size_t t = 0; t < count; ++t) {
      if (s == t || !may_replace(residency, s, t)) continue;
      if (s < t && may_replace(residency, t, s)) continue;
      candidates_[s].better.push_back(static_cast<std::int32_t>(t));
      ++candidates_[s].rank;
    }
  order_.resize(count);
  place_.resize(count);
  std::iota(order_.begin(), order_.end(), 0);
  // "Better" is transitive: what is better than a better one is among the better ones.
  std::sort(order_.begin(), order_.end(), [&](std::int32_t a, std::int32_t b) {
    const auto key = [&](std::int32_t i) {
      const Candidate& candidate = candidates_[index(i)];
      return std::tuple(-model_.rounded[index(candidate.storage)], candidate.rank, i);
    };
    return key(a) < key(b);
  });
  for (std::size_t i = 0; i < count; ++i) place_[index(order_[i])] = static_cast<std::int32_t>(i);
  for (std::size_t i = 0; i < count; ++i) {
    const Candidate& candidate = candidates_[index(order_[i])];
    candidates[i] = candidate.storage;
    before_[i].clear();
    for (const std::int32_t t : candidate.better) before_[i].push_back(place_[index(t)]);
  }
}

}  // namespace planner::joint
