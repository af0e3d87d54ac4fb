#include "spill_hitting.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <numeric>
#include <tuple>
#include <utility>

#include "order_model.hpp"

namespace planner::joint {

namespace {

using order::index;

// Without the elements that another one makes superfluous: it meets the same cuts and more, for no
// more. Only elements of plain cuts and with one level can be.
std::vector<Cut> without_dominated(const HittingProblem& problem) {
  const std::size_t elements = problem.first_cost.size();
  const std::size_t words = (problem.cuts.size() + 63) / 64;
  std::vector<std::vector<std::uint64_t>> meets(elements);
  std::vector<char> is_simple(elements, 1);
  std::vector<std::int32_t> used;
  for (std::size_t c = 0; c < problem.cuts.size(); ++c)
    for (const CutMember& member : problem.cuts[c].members) {
      auto& mask = meets[index(member.element)];
      if (mask.empty()) {
        mask.assign(words, 0);
        used.push_back(member.element);
      }
      if (member.level > 0 || problem.cuts[c].demand > 1) is_simple[index(member.element)] = 0;
      // What level 1 meets by itself.
      if (member.level == 0 && member.weight == problem.cuts[c].demand)
        mask[c / 64] |= std::uint64_t{1} << (c % 64);
    }
  std::sort(used.begin(), used.end(), [&](std::int32_t a, std::int32_t b) {
    return std::pair(problem.first_cost[index(a)], a) < std::pair(problem.first_cost[index(b)], b);
  });
  std::vector<char> dropped(elements, 0);
  for (const std::int32_t a : used) {
    if (!is_simple[index(a)]) continue;
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
  std::vector<Cut> cuts;
  for (const Cut& cut : problem.cuts) {
    Cut& kept = cuts.emplace_back(Cut{{}, cut.demand});
    for (const CutMember& member : cut.members)
      if (!dropped[index(member.element)]) kept.members.push_back(member);
  }
  std::stable_sort(cuts.begin(), cuts.end(), [](const Cut& a, const Cut& b) {
    return a.members.size() < b.members.size();
  });
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
    for (const Cut& cut : cuts_)
      for (const CutMember& member : cut.members)
        highest_[index(member.element)] =
            std::max(highest_[index(member.element)], member.level + 1);
    for (std::size_t e = 0; e < highest_.size(); ++e) {
      if (highest_[e] == 0) continue;
      unit_ = std::gcd(unit_, problem.first_cost[e]);
      if (highest_[e] > 1) unit_ = std::gcd(unit_, problem.more_cost[e]);
    }
    unit_ = std::max<std::int64_t>(unit_, 1);
  }

  HittingResult run() {
    result_.levels = greedy();
    for (std::size_t e = 0; e < result_.levels.size(); ++e)
      result_.cost += cost(static_cast<std::int32_t>(e), result_.levels[e]);
    const std::int64_t root_bound = lower_bound();
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

  std::int64_t missing(const Cut& cut, const std::vector<std::int32_t>& levels) const {
    std::int64_t left = cut.demand;
    for (const CutMember& member : cut.members)
      if (levels[index(member.element)] > member.level) left -= member.weight;
    return left;
  }

  // Takes, again and again, the step that pays least for what it contributes; then gives back what
  // has become superfluous, the expensive ones first.
  std::vector<std::int32_t> greedy() const {
    std::vector<std::int32_t> levels(levels_.size(), 0);
    std::vector<std::vector<double>> worth(levels_.size());
    for (;;) {
      for (std::size_t e = 0; e < worth.size(); ++e) worth[e].assign(index(highest_[e]), 0.0);
      bool all_met = true;
      for (const Cut& cut : cuts_) {
        const std::int64_t left = missing(cut, levels);
        if (left <= 0) continue;
        all_met = false;
        for (const CutMember& member : cut.members) {
          if (levels[index(member.element)] > member.level) continue;
          const double share = static_cast<double>(std::min(member.weight, left)) /
                               static_cast<double>(left);
          for (std::int32_t l = member.level; l < highest_[index(member.element)]; ++l)
            worth[index(member.element)][index(l)] += share;
        }
      }
      if (all_met) break;
      double least = std::numeric_limits<double>::infinity();
      std::pair<std::size_t, std::int32_t> step{};
      for (std::size_t e = 0; e < worth.size(); ++e)
        for (std::int32_t l = levels[e]; l < highest_[e]; ++l) {
          if (worth[e][index(l)] <= 0.0) continue;
          const auto element = static_cast<std::int32_t>(e);
          const double price =
              static_cast<double>(cost(element, l + 1) - cost(element, levels[e])) /
              worth[e][index(l)];
          if (price >= least) continue;
          least = price;
          step = {e, l + 1};
        }
      levels[step.first] = step.second;
    }
    std::vector<std::int32_t> taken;
    for (std::size_t e = 0; e < levels.size(); ++e)
      if (levels[e] > 0) taken.push_back(static_cast<std::int32_t>(e));
    std::stable_sort(taken.begin(), taken.end(), [&](std::int32_t a, std::int32_t b) {
      return cost(a, levels[index(a)]) > cost(b, levels[index(b)]);
    });
    for (const std::int32_t e : taken) {
      const std::int32_t before = levels[index(e)];
      levels[index(e)] = 0;
      const bool met = std::all_of(cuts_.begin(), cuts_.end(), [&](const Cut& cut) {
        return missing(cut, levels) <= 0;
      });
      if (!met) levels[index(e)] = before;
    }
    return levels;
  }

  // The least that has to be paid beyond the levels so far, a multiple of the unit; kNever if some
  // cut cannot be met any more.
  std::int64_t lower_bound() {
    for (std::size_t e = 0; e < levels_.size(); ++e) {
      slack_[e].clear();
      const auto element = static_cast<std::int32_t>(e);
      for (std::int32_t l = 0; l <= highest_[e]; ++l)
        slack_[e].push_back(static_cast<double>(cost(element, l) - cost(element, levels_[e])));
    }
    open_.clear();
    for (std::size_t c = 0; c < cuts_.size(); ++c) {
      std::int64_t left = missing(cuts_[c], levels_);
      if (left <= 0) continue;
      std::size_t members = 0;
      std::int64_t available = 0;
      for (const CutMember& member : cuts_[c].members)
        if (is_open(member)) {
          ++members;
          available += member.weight;
          if (available >= left) available = left;
        }
      if (available < left) return kNever;
      open_.push_back({members, c});
    }
    std::sort(open_.begin(), open_.end());
    double sum = 0.0;
    for (const auto& entry : open_) sum += charge(cuts_[entry.second]);
    // Less than the rounding errors can amount to.
    sum -= 1e-9 * (sum + 1.0);
    return static_cast<std::int64_t>(std::ceil(sum / static_cast<double>(unit_))) * unit_;
  }

  // Whether the member could count, but does not yet.
  bool is_open(const CutMember& member) const {
    return levels_[index(member.element)] <= member.level &&
           highest_[index(member.element)] > member.level;
  }

  double charge(const Cut& cut) {
    double paid = 0.0;
    std::int64_t left = missing(cut, levels_);
    members_.clear();
    for (const CutMember& member : cut.members)
      if (is_open(member)) members_.push_back(member);
    while (left > 0 && !members_.empty()) {
      double rate = std::numeric_limits<double>::infinity();
      for (const CutMember& member : members_)
        rate = std::min(rate, room(member) / static_cast<double>(std::min(member.weight, left)));
      rate = std::max(rate, 0.0);
      paid += rate * static_cast<double>(left);
      std::int64_t granted = 0;
      std::size_t kept = 0;
      for (const CutMember& member : members_) {
        const double share = rate * static_cast<double>(std::min(member.weight, left));
        bool is_paid = room(member) <= share * (1.0 + 1e-12);
        for (std::int32_t l = member.level + 1; l <= highest_[index(member.element)]; ++l)
          slack_[index(member.element)][index(l)] =
              std::max(0.0, slack_[index(member.element)][index(l)] - share);
        if (is_paid)
          granted += std::min(member.weight, left - granted);
        else
          members_[kept++] = member;
      }
      if (kept == members_.size()) break;
      members_.resize(kept);
      left -= granted;
    }
    return paid;
  }

  // What the member's cheapest level has left to be charged.
  double room(const CutMember& member) const {
    const auto& slack = slack_[index(member.element)];
    return *std::min_element(slack.begin() + member.level + 1, slack.end());
  }

  void search(std::int64_t paid) {
    if (++nodes_ > max_nodes_ || control_.stop_now()) {
      complete_ = false;
      return;
    }
    const std::int64_t bound = lower_bound();
    if (bound == kNever || paid + bound >= result_.cost) return;
    if (open_.empty()) {
      result_.levels = levels_;
      result_.cost = paid;
      return;
    }
    const Cut& cut = cuts_[open_[0].second];
    std::vector<std::pair<std::tuple<std::int64_t, std::int64_t>, CutMember>> options;
    for (const CutMember& member : cut.members)
      if (is_open(member))
        options.push_back({{step(member), -static_cast<std::int64_t>(frequency(member))}, member});
    std::stable_sort(options.begin(), options.end(),
                     [](const auto& a, const auto& b) { return a.first < b.first; });
    std::vector<std::pair<std::int32_t, std::int32_t>> restored;
    for (const auto& option : options) {
      const CutMember& member = option.second;
      const std::int32_t before = levels_[index(member.element)];
      const std::int64_t extra = step(member);
      levels_[index(member.element)] = member.level + 1;
      search(paid + extra);
      levels_[index(member.element)] = before;
      if (!complete_) break;
      // The other branches do without it.
      restored.push_back({member.element, highest_[index(member.element)]});
      highest_[index(member.element)] = member.level;
    }
    while (!restored.empty()) {
      highest_[index(restored.back().first)] = restored.back().second;
      restored.pop_back();
    }
  }

  std::int64_t step(const CutMember& member) const {
    return cost(member.element, member.level + 1) -
           cost(member.element, levels_[index(member.element)]);
  }

  // In how many open cuts the step counts.
  std::int64_t frequency(const CutMember& member) const {
    std::int64_t count = 0;
    for (const auto& entry : open_)
      for (const CutMember& other : cuts_[entry.second].members)
        count += other.element == member.element && other.level <= member.level;
    return count;
  }

  static constexpr std::int64_t kNever = std::numeric_limits<std::int64_t>::max();
  const HittingProblem& problem_;
  const std::int64_t max_nodes_;
  Control& control_;
  std::vector<Cut> cuts_;
  std::vector<std::int32_t> levels_, highest_;
  std::vector<std::vector<double>> slack_;  // of an element's levels: cost not yet charged
  std::vector<std::pair<std::size_t, std::size_t>> open_;  // members left, cut
  std::vector<CutMember> members_;
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
