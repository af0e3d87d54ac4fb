#include "spill_hitting.hpp"

#include <algorithm>
#include <cstddef>
#include <limits>
#include <numeric>
#include <tuple>

#include "order_model.hpp"

namespace planner::joint {

namespace {

using order::index;
using Member = std::pair<std::int32_t, std::int32_t>;

// Without the elements that another one makes superfluous: it meets the same cuts and more, for no
// more. Elements with several levels stay.
std::vector<std::vector<Member>> without_dominated(const HittingProblem& problem) {
  const std::size_t elements = problem.first_cost.size();
  const std::size_t words = (problem.cuts.size() + 63) / 64;
  std::vector<std::vector<std::uint64_t>> meets(elements);
  std::vector<char> is_plain(elements, 1);
  std::vector<std::int32_t> used;
  for (std::size_t c = 0; c < problem.cuts.size(); ++c)
    for (const auto& [element, level] : problem.cuts[c]) {
      auto& mask = meets[index(element)];
      if (mask.empty()) {
        mask.assign(words, 0);
        used.push_back(element);
      }
      if (level > 0) is_plain[index(element)] = 0;
      // What level 1 meets.
      if (level == 0) mask[c / 64] |= std::uint64_t{1} << (c % 64);
    }
  std::sort(used.begin(), used.end(), [&](std::int32_t a, std::int32_t b) {
    return std::pair(problem.first_cost[index(a)], a) < std::pair(problem.first_cost[index(b)], b);
  });
  std::vector<char> dropped(elements, 0);
  for (const std::int32_t a : used) {
    if (!is_plain[index(a)]) continue;
    for (const std::int32_t b : used) {
      if (a == b || dropped[index(b)]) continue;
      if (problem.first_cost[index(b)] > problem.first_cost[index(a)]) break;
      bool covers = true;
      for (std::size_t w = 0; w < words && covers; ++w)
        covers = (meets[index(a)][w] & ~meets[index(b)][w]) == 0;
      if (!covers) continue;
      dropped[index(a)] = 1;
      break;
    }
  }
  std::vector<std::vector<Member>> cuts;
  for (const auto& cut : problem.cuts) {
    auto& kept = cuts.emplace_back();
    for (const Member& member : cut)
      if (!dropped[index(member.first)]) kept.push_back(member);
  }
  return cuts;
}

class Search {
 public:
  Search(const HittingProblem& problem, std::int64_t max_nodes, Control& control)
      : problem_(problem),
        max_nodes_(max_nodes),
        control_(control),
        cuts_(without_dominated(problem)),
        levels_(problem.first_cost.size(), 0),
        highest_(problem.first_cost.size(), 0),
        slack_(problem.first_cost.size()) {
    std::sort(cuts_.begin(), cuts_.end(), [](const auto& a, const auto& b) {
      return std::pair(a.size(), a) < std::pair(b.size(), b);
    });
    for (const auto& cut : cuts_)
      for (const auto& [element, level] : cut)
        highest_[index(element)] = std::max(highest_[index(element)], level + 1);
    for (std::size_t e = 0; e < highest_.size(); ++e) {
      if (highest_[e] == 0) continue;
      unit_ = std::gcd(unit_, problem.first_cost[e]);
      if (highest_[e] > 1) unit_ = std::gcd(unit_, problem.more_cost[e]);
    }
    unit_ = std::max<std::int64_t>(unit_, 1);
  }

  HittingResult run() {
    result_.levels = greedy();
    result_.cost = 0;
    for (std::size_t e = 0; e < result_.levels.size(); ++e)
      result_.cost += cost(static_cast<std::int32_t>(e), result_.levels[e]);
    const std::int64_t root_bound = rounded_up(lower_bound());
    search(0);
    result_.bound = complete_ ? result_.cost : std::min(root_bound, result_.cost);
    result_.nodes = nodes_;
    return std::move(result_);
  }

 private:
  std::int64_t cost(std::int32_t element, std::int32_t level) const {
    return level == 0 ? 0
                      : problem_.first_cost[index(element)] +
                            (level - 1) * problem_.more_cost[index(element)];
  }

  std::int64_t rounded_up(std::int64_t value) const {
    return (value + unit_ - 1) / unit_ * unit_;
  }

  bool is_met(const std::vector<Member>& cut, const std::vector<std::int32_t>& levels) const {
    return std::any_of(cut.begin(), cut.end(), [&](const Member& member) {
      return levels[index(member.first)] > member.second;
    });
  }

  // Takes, again and again, the step that pays least per cut met.
  std::vector<std::int32_t> greedy() const {
    std::vector<std::int32_t> levels(levels_.size(), 0);
    std::vector<char> met(cuts_.size(), 0);
    for (;;) {
      std::vector<std::pair<Member, std::int64_t>> counts;
      for (std::size_t c = 0; c < cuts_.size(); ++c)
        if (!met[c])
          for (const Member& member : cuts_[c]) counts.push_back({member, 1});
      if (counts.empty()) return levels;
      std::sort(counts.begin(), counts.end());
      std::size_t best = 0;
      std::size_t distinct = 0;
      for (std::size_t i = 0; i < counts.size(); ++i) {
        if (i > 0 && counts[i].first == counts[distinct].first) {
          counts[distinct].second += 1;
        } else {
          distinct = i == 0 ? 0 : distinct + 1;
          counts[distinct] = counts[i];
        }
      }
      const auto price = [&](std::size_t i) {
        const auto [element, level] = counts[i].first;
        return static_cast<double>(cost(element, level + 1) -
                                   cost(element, levels[index(element)])) /
               static_cast<double>(counts[i].second);
      };
      for (std::size_t i = 1; i <= distinct; ++i)
        if (price(i) < price(best)) best = i;
      const auto [element, level] = counts[best].first;
      levels[index(element)] = level + 1;
      for (std::size_t c = 0; c < cuts_.size(); ++c) met[c] = is_met(cuts_[c], levels);
    }
  }

  // What has to be paid beyond the levels so far; kNever if some cut cannot be met any more. A cut
  // charges all levels that meet it by the least that one of them has left to pay.
  std::int64_t lower_bound() {
    for (std::size_t e = 0; e < levels_.size(); ++e) {
      slack_[e].clear();
      for (std::int32_t l = 0; l <= highest_[e]; ++l)
        slack_[e].push_back(cost(static_cast<std::int32_t>(e), l) -
                            cost(static_cast<std::int32_t>(e), levels_[e]));
    }
    open_.clear();
    for (std::size_t c = 0; c < cuts_.size(); ++c) {
      if (is_met(cuts_[c], levels_)) continue;
      std::size_t members = 0;
      for (const auto& [element, level] : cuts_[c]) members += highest_[index(element)] > level;
      if (members == 0) return kNever;
      open_.push_back({members, c});
    }
    std::sort(open_.begin(), open_.end());
    std::int64_t sum = 0;
    for (const auto& entry : open_) {
      const auto& cut = cuts_[entry.second];
      std::int64_t least = kNever;
      for (const auto& [element, level] : cut)
        for (std::int32_t l = level + 1; l <= highest_[index(element)]; ++l)
          least = std::min(least, slack_[index(element)][index(l)]);
      if (least <= 0) continue;
      sum += least;
      for (const auto& [element, level] : cut)
        for (std::int32_t l = level + 1; l <= highest_[index(element)]; ++l)
          slack_[index(element)][index(l)] -= least;
    }
    return sum;
  }

  void search(std::int64_t paid) {
    if (++nodes_ > max_nodes_ || control_.stop_now()) {
      complete_ = false;
      return;
    }
    const std::int64_t bound = lower_bound();
    if (bound == kNever || rounded_up(paid + bound) >= result_.cost) return;
    if (open_.empty()) {
      result_.levels = levels_;
      result_.cost = paid;
      return;
    }
    const std::vector<Member>& cut = cuts_[open_[0].second];
    std::vector<Member> options;
    for (const Member& member : cut)
      if (highest_[index(member.first)] > member.second) options.push_back(member);
    const auto step = [&](const Member& member) {
      return cost(member.first, member.second + 1) -
             cost(member.first, levels_[index(member.first)]);
    };
    std::stable_sort(options.begin(), options.end(), [&](const Member& a, const Member& b) {
      return std::tuple(step(a), -frequency(a)) < std::tuple(step(b), -frequency(b));
    });
    std::vector<Member> restored;
    for (const Member& member : options) {
      const auto [element, level] = member;
      const std::int32_t before = levels_[index(element)];
      const std::int64_t extra = step(member);
      levels_[index(element)] = level + 1;
      search(paid + extra);
      levels_[index(element)] = before;
      if (!complete_) break;
      // The other branches do without it.
      restored.push_back({element, highest_[index(element)]});
      highest_[index(element)] = level;
    }
    while (!restored.empty()) {
      highest_[index(restored.back().first)] = restored.back().second;
      restored.pop_back();
    }
  }

  std::int64_t frequency(const Member& member) const {
    std::int64_t count = 0;
    for (const auto& entry : open_)
      for (const Member& other : cuts_[entry.second])
        count += other.first == member.first && other.second <= member.second;
    return count;
  }

  static constexpr std::int64_t kNever = std::numeric_limits<std::int64_t>::max();
  const HittingProblem& problem_;
  const std::int64_t max_nodes_;
  Control& control_;
  std::vector<std::vector<Member>> cuts_;
  std::vector<std::int32_t> levels_, highest_;
  std::vector<std::vector<std::int64_t>> slack_;
  std::vector<std::pair<std::size_t, std::size_t>> open_;  // members left, cut
  std::int64_t unit_ = 0;
  std::int64_t nodes_ = 0;
  bool complete_ = true;
  HittingResult result_;
};

}  // namespace

HittingResult minimum_hitting_set(const HittingProblem& problem, std::int64_t max_nodes,
                                  Control& control) {
  return Search(problem, max_nodes, control).run();
}

}  // namespace planner::joint
