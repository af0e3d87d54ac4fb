#include "joint_search_cuts.hpp"

#include <algorithm>
#include <numeric>
#include <random>

namespace planner::joint {

namespace {

constexpr int kAscents = 300;

}  // namespace

Cuts::Cuts(const JointModel& model, const std::vector<std::vector<std::int32_t>>& cuts)
    : model_(model),
      members_(cuts),
      weight_(cuts.size(), 0),
      of_storage_(cuts.empty() ? 0 : index(model.storages())),
      slack_(of_storage_.size()) {
  const auto first_absence = [&](std::int32_t s) {
    return model.read_cost(s) + model.write_cost(s);
  };
  for (std::size_t c = 0; c < cuts.size(); ++c)
    for (const std::int32_t s : cuts[c])
      of_storage_[index(s)].push_back(static_cast<std::int32_t>(c));
  // What an ascent reaches depends on the order of the cuts: small cuts first, then by chance.
  std::vector<std::size_t> order(cuts.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return cuts[a].size() < cuts[b].size();
  });
  std::mt19937_64 random(1);
  std::vector<std::int64_t> weight(cuts.size());
  for (int ascent = 0; ascent < kAscents && !cuts.empty(); ++ascent) {
    for (const std::vector<std::int32_t>& members : cuts)
      for (const std::int32_t s : members) slack_[index(s)] = first_absence(s);
    std::int64_t total = 0;
    for (const std::size_t c : order) {
      std::int64_t least = std::numeric_limits<std::int64_t>::max();
      for (const std::int32_t s : cuts[c]) least = std::min(least, slack_[index(s)]);
      for (const std::int32_t s : cuts[c]) slack_[index(s)] -= least;
      weight[c] = least;
      total += least;
    }
    if (ascent == 0 || total > total_) {
      total_ = total;
      weight_ = weight;
    }
    for (std::size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[random() % i]);
  }
  for (std::size_t c = 0; c < cuts.size(); ++c)
    for (const std::int32_t s : cuts[c]) slack_[index(s)] = first_absence(s);
}

std::int64_t Cuts::due(const Hits& hits) const {
  std::int64_t bytes = 0;
  for (std::size_t c = 0; c < weight_.size(); ++c)
    if (!is_hit(hits, static_cast<std::int32_t>(c))) bytes += weight_[c];
  return bytes;
}

std::int64_t Cuts::hit(std::int32_t s, Hits& hits) const {
  if (of_storage_.empty()) return 0;
  std::int64_t bytes = 0;
  for (const std::int32_t c : of_storage_[index(s)]) {
    std::uint64_t& word = hits[index(c) >> 6];
    const std::uint64_t bit = std::uint64_t{1} << (c & 63);
    if (word & bit) continue;
    word |= bit;
    bytes += weight_[index(c)];
  }
  return bytes;
}

std::int64_t Cuts::bound(const Residency& residency, const Hits& hits) {
  const auto is_due = [&](std::size_t c) { return !is_hit(hits, static_cast<std::int32_t>(c)); };
  std::int64_t total = 0;
  for (std::size_t c = 0; c < members_.size(); ++c) {
    if (!is_due(c)) continue;
    total += weight_[c];
    for (const std::int32_t s : members_[c]) slack_[index(s)] -= weight_[c];
  }
  bool dead_end = false;
  for (std::size_t c = 0; c < members_.size() && !dead_end; ++c) {
    if (!is_due(c)) continue;
    std::int64_t least = kDeadEnd;
    for (const std::int32_t s : members_[c])
      if (!residency.is_dead(s)) least = std::min(least, slack_[index(s)]);
    dead_end = least == kDeadEnd;
    if (dead_end || least == 0) continue;
    total += least;
    for (const std::int32_t s : members_[c]) slack_[index(s)] -= least;
  }
  for (std::size_t c = 0; c < members_.size(); ++c) {
    if (!is_due(c)) continue;
    for (const std::int32_t s : members_[c])
      slack_[index(s)] = model_.read_cost(s) + model_.write_cost(s);
  }
  return dead_end ? kDeadEnd : total;
}

}  // namespace planner::joint
