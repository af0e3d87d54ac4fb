// What the search keeps of a pairwise instance.
#include <algorithm>
#include <cstddef>
#include <numeric>
#include <utility>

#include "offsets_place_or_raise.hpp"

namespace planner::offsets {

template <class Integer, bool kPairwise>
auto PlaceOrRaise<Integer, kPairwise>::by_buffer(
    std::size_t buffers, const std::vector<std::pair<std::int32_t, Link>>& links) -> Links {
  Links sorted;
  sorted.row.assign(buffers + 1, 0);
  for (const auto& [buffer, link] : links) {
    ++sorted.row[index(buffer) + 1];
    ++sorted.row[index(link.partner) + 1];
  }
  std::partial_sum(sorted.row.begin(), sorted.row.end(), sorted.row.begin());
  sorted.link.resize(sorted.row.back());
  std::vector<std::size_t> next(sorted.row.begin(), sorted.row.end() - 1);
  for (const auto& [buffer, link] : links) {
    sorted.link[next[index(buffer)]++] = link;
    sorted.link[next[index(link.partner)]++] = {buffer, link.first, link.end, link.bytes};
  }
  return sorted;
}

template <class Integer, bool kPairwise>
void PlaceOrRaise<Integer, kPairwise>::keep_pairwise_model() {
  const auto taken = [](std::vector<std::int64_t>& values) {
    std::vector<Integer> narrow;
    narrow.reserve(values.size());
    for (std::int64_t value : values) narrow.push_back(static_cast<Integer>(value));
    values = {};
    return narrow;
  };
  anchor_ = taken(conflicts_.anchor);
  above_ = taken(conflicts_.above);
  below_ = taken(conflicts_.below);
  steps_ = static_cast<Integer>(conflicts_.steps);
  for (std::size_t v = 0; v < buffers_; ++v) {
    size_[v] *= steps_;
    alignment_[v] *= steps_;
    start_[v] = start_[v] * steps_ + anchor_[v];
  }

  section_total_.assign(sections_, 0);
  used_row_ = instance_.used_row;
  for (const UsedBytes& used : instance_.used) {
    used_.push_back({used.first_section, used.end_section,
                     static_cast<Integer>(used.bytes / unit_ * steps_),
                     static_cast<Integer>(used.lowest / unit_ * steps_)});
    for (std::int32_t s = used.first_section; s < used.end_section; ++s) {
      section_total_[index(s)] += used_.back().bytes;
    }
  }
  std::vector<std::pair<std::int32_t, Link>> shared, between;
  for (const SharedBytes& both : instance_.shared) {
    const auto bytes = static_cast<Integer>((both.bytes + unit_ - 1) / unit_ * steps_);
    shared.push_back({both.first, {both.second, both.first_section, both.end_section, bytes}});
    for (std::int32_t s = both.first_section; s < both.end_section; ++s) {
      section_total_[index(s)] -= bytes;
    }
  }
  reach_first_ = instance_.first_section;
  reach_end_ = instance_.end_section;
  for (const PairRule& rule : instance_.rules) {
    const auto [first, end] = sections_between(instance_, rule);
    if (first >= end || rule.forbidden.empty()) continue;
    between.push_back({rule.first, {rule.second, first, end, 0}});
    for (const auto& [u, v] :
         {std::pair{rule.first, rule.second}, std::pair{rule.second, rule.first}}) {
      reach_first_[index(u)] = std::min(reach_first_[index(u)], instance_.first_section[index(v)]);
      reach_end_[index(u)] = std::max(reach_end_[index(u)], instance_.end_section[index(v)]);
    }
  }
  shared_ = by_buffer(buffers_, shared);
  between_ = by_buffer(buffers_, between);
}

// The member that offsets_place_or_raise.cpp calls.
template void PlaceOrRaise<std::int32_t, true>::keep_pairwise_model();
template void PlaceOrRaise<std::int64_t, true>::keep_pairwise_model();

}  // namespace planner::offsets
