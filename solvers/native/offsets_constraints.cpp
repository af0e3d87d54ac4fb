#include "offsets_constraints.hpp"

#include <algorithm>
#include <cstddef>
#include <limits>
#include <numeric>

#include "offsets_differences.hpp"

namespace planner::offsets {
namespace {

// Placed buffers compared with one that cost about as much as looking at an interval.
constexpr std::uint64_t kComparedPerWork = 4;

bool contains(const std::vector<OpenInterval>& intervals, const OpenInterval& wanted) {
  return std::any_of(intervals.begin(), intervals.end(), [&wanted](const OpenInterval& interval) {
    return interval.low <= wanted.low && wanted.high <= interval.high;
  });
}

// Whether the rule allows what the uses of its buffers do not.
bool loosens(const Instance& instance, const PairRule& rule) {
  const std::vector<OpenInterval> by_rule =
      forbidden_differences(instance, rule.first, rule.second);
  for (const OpenInterval& interval : forbidden_by_uses(instance, rule.first, rule.second)) {
    if (!contains(by_rule, interval)) return true;
  }
  return false;
}

bool ever_together(const Instance& instance, std::size_t u, std::size_t v) {
  return instance.first_section[u] < instance.end_section[v] &&
         instance.first_section[v] < instance.end_section[u];
}

// Whether the fixed offsets of the two do not go together.
bool exclude_each_other(const Instance& instance, std::int32_t first, std::int32_t second) {
  const auto u = static_cast<std::size_t>(first);
  const auto v = static_cast<std::size_t>(second);
  const std::int64_t difference = instance.fixed[v] - instance.fixed[u];
  if (first == second) return false;
  if (!instance.pairwise()) {
    return ever_together(instance, u, v) && -instance.padded_size[v] < difference &&
           difference < instance.padded_size[u];
  }
  const std::vector<OpenInterval> forbidden = forbidden_differences(instance, first, second);
  return std::any_of(forbidden.begin(), forbidden.end(),
                     [difference](const OpenInterval& interval) {
                       return interval.low < difference && difference < interval.high;
                     });
}

// The lowest multiple of the alignment, from `offset` on, that is in none of the intervals, which
// begin `base` higher.
std::int64_t above(const std::vector<OpenInterval>& intervals, std::int64_t base,
                   std::int64_t alignment, std::int64_t offset) {
  for (const OpenInterval& interval : intervals) {  // ascending
    if (base + interval.low < offset && offset < base + interval.high) {
      offset = round_up(base + interval.high, alignment);
    }
  }
  return offset;
}

}  // namespace

ConstrainedDecoder::ConstrainedDecoder(const Instance& instance, std::size_t loose_limit)
    : instance_(instance),
      occupancy_(instance.sections),
      overwrites_(instance.only_overwrites),
      offsets_(instance.buffers()),
      placed_(instance.buffers(), 0),
      loose_(instance.buffers(), 0) {
  if (overwrites_) return;
  for (const PairRule& rule : instance.rules) {
    if (!loosens(instance, rule)) continue;
    loose_[static_cast<std::size_t>(rule.first)] = 1;
    loose_[static_cast<std::size_t>(rule.second)] = 1;
  }
  const auto count = static_cast<std::size_t>(std::count(loose_.begin(), loose_.end(), 1));
  if (count > loose_limit) std::fill(loose_.begin(), loose_.end(), 0);
}

void ConstrainedDecoder::clear() {
  occupancy_.clear();
  std::fill(placed_.begin(), placed_.end(), 0);
  placed_loose_.clear();
}

// Nothing but the bytes in use all its lifetime keeps others away from the buffer.
bool ConstrainedDecoder::plain(std::size_t buffer) const {
  return placed_loose_.empty() &&
         (overwrites_ || !instance_.pairwise() ||
          (instance_.rectangle_row[buffer + 1] - instance_.rectangle_row[buffer] == 1 &&
           instance_.rectangles[instance_.rectangle_row[buffer]].begin == 0 &&
           instance_.rule_row[buffer + 1] == instance_.rule_row[buffer]));
}

std::int64_t ConstrainedDecoder::above_rules(std::size_t buffer, std::int64_t offset) {
  if (instance_.rules.empty()) return offset;
  for (std::size_t k = instance_.rule_row[buffer]; k < instance_.rule_row[buffer + 1]; ++k) {
    const std::int32_t partner = instance_.rule_links[k].partner;
    const auto u = static_cast<std::size_t>(partner);
    if (!placed_[u]) continue;
    offset = above(forbidden_differences(instance_, partner, static_cast<std::int32_t>(buffer)),
                   offsets_[u], instance_.alignment[buffer], offset);
    ++work_;
  }
  return offset;
}

std::int64_t ConstrainedDecoder::above_loose(std::size_t buffer, std::int64_t offset) {
  work_ += placed_loose_.size() / kComparedPerWork;
  for (std::int32_t loose : placed_loose_) {
    const auto u = static_cast<std::size_t>(loose);
    if (!ever_together(instance_, u, buffer)) continue;
    const auto v = static_cast<std::int32_t>(buffer);
    if (rule_between(instance_, loose, v) != nullptr) continue;
    offset = above(forbidden_by_uses(instance_, loose, v), offsets_[u],
                   instance_.alignment[buffer], offset);
    work_ += (instance_.rectangle_row[u + 1] - instance_.rectangle_row[u]) *
             (instance_.rectangle_row[buffer + 1] - instance_.rectangle_row[buffer]);
  }
  return offset;
}

// Each constraint pushes the offset up, until a full round moves nothing.
std::int64_t ConstrainedDecoder::first_fit(std::size_t buffer, std::int64_t from) {
  const std::int64_t alignment = instance_.alignment[buffer];
  std::int64_t offset = from;
  for (std::int64_t before = -1; before != offset;) {
    before = offset;
    if (overwrites_ || !instance_.pairwise()) {
      occupancy_.select(instance_.first_section[buffer], instance_.end_section[buffer]);
      return occupancy_.first_fit(instance_.padded_size[buffer], alignment, offset);
    }
    for (std::size_t k = instance_.rectangle_row[buffer]; k < instance_.rectangle_row[buffer + 1];
         ++k) {
      const Rectangle& used = instance_.rectangles[k];
      occupancy_.select(used.first_section, used.end_section);
      offset = occupancy_.first_fit(used.end - used.begin, alignment, offset, used.begin);
    }
    offset = above_loose(buffer, above_rules(buffer, offset));
  }
  return offset;
}

void ConstrainedDecoder::put(std::size_t buffer, std::int64_t offset) {
  offsets_[buffer] = offset;
  placed_[buffer] = 1;
  if (loose_[buffer]) {
    placed_loose_.push_back(static_cast<std::int32_t>(buffer));
    return;
  }
  if (overwrites_) {
    put_beside_overwrites(buffer, offset);
    return;
  }
  if (!instance_.pairwise()) {
    occupancy_.select(instance_.first_section[buffer], instance_.end_section[buffer]);
    occupancy_.occupy(offset, instance_.padded_size[buffer]);
    return;
  }
  for (std::size_t k = instance_.rectangle_row[buffer]; k < instance_.rectangle_row[buffer + 1];
       ++k) {
    const Rectangle& used = instance_.rectangles[k];
    occupancy_.select(used.first_section, used.end_section);
    occupancy_.occupy(offset + used.begin, used.end - used.begin);
  }
}

// Sections of a buffer without those that it shares, at this offset, with one that it overwrites or
// is overwritten by; none if two of them would meet there.
std::optional<std::pair<std::int32_t, std::int32_t>>
ConstrainedDecoder::sections_beside_overwrites(std::size_t buffer, std::int64_t offset) const {
  std::pair sections{instance_.first_section[buffer], instance_.end_section[buffer]};
  for (std::size_t k = instance_.rule_row[buffer]; k < instance_.rule_row[buffer + 1]; ++k) {
    const auto u = static_cast<std::size_t>(instance_.rule_links[k].partner);
    if (!placed_[u] || offsets_[u] != offset) continue;
    const bool earlier = instance_.lower[u] < instance_.lower[buffer];
    const std::int32_t common = earlier ? instance_.first_section[buffer]
                                        : instance_.end_section[buffer] - 1;
    for (std::size_t l = instance_.rule_row[u]; l < instance_.rule_row[u + 1]; ++l) {
      const auto w = static_cast<std::size_t>(instance_.rule_links[l].partner);
      if (w != buffer && placed_[w] && offsets_[w] == offset &&
          instance_.first_section[w] <= common && common < instance_.end_section[w]) {
        return std::nullopt;
      }
    }
    if (earlier) {
      sections.first = std::max(sections.first, common + 1);
    } else {
      sections.second = std::min(sections.second, common);
    }
  }
  return sections;
}

// Whether nobody is in the way at this offset but those that the buffer shares it with.
bool ConstrainedDecoder::may_overwrite(std::size_t buffer, std::int64_t offset) {
  const auto sections = sections_beside_overwrites(buffer, offset);
  if (!sections) return false;
  if (sections->first >= sections->second) return true;
  occupancy_.select(sections->first, sections->second);
  return occupancy_.first_fit(instance_.padded_size[buffer], instance_.alignment[buffer],
                              offset) == offset;
}

// The lowest offset of a partner at which nobody else is in the way; -1 if there is none.
std::int64_t ConstrainedDecoder::lowest_overwrite(std::size_t buffer) {
  std::int64_t lowest = -1;
  for (std::size_t k = instance_.rule_row[buffer]; k < instance_.rule_row[buffer + 1]; ++k) {
    const auto u = static_cast<std::size_t>(instance_.rule_links[k].partner);
    if (!placed_[u] || (lowest >= 0 && lowest <= offsets_[u])) continue;
    if (may_overwrite(buffer, offsets_[u])) lowest = offsets_[u];
  }
  return lowest;
}

void ConstrainedDecoder::put_beside_overwrites(std::size_t buffer, std::int64_t offset) {
  const auto sections = sections_beside_overwrites(buffer, offset);
  if (!sections || sections->first >= sections->second) return;
  occupancy_.select(sections->first, sections->second);
  occupancy_.occupy(offset, instance_.padded_size[buffer]);
}

std::int64_t ConstrainedDecoder::run(const std::vector<std::int32_t>& order, bool best_fit,
                                     std::int64_t limit, std::uint64_t work_limit,
                                     Control* control) {
  clear();
  std::int64_t height = 0;
  for (const bool pinned : {true, false}) {
    for (std::int32_t buffer : order) {
      const auto v = static_cast<std::size_t>(buffer);
      if (instance_.pinned(v) != pinned) continue;
      if (control != nullptr && control->stop()) return limit;
      if (work() > work_limit) return limit;
      const std::int64_t overwrite = overwrites_ ? lowest_overwrite(v) : -1;
      if (pinned) {
        put(v, instance_.fixed[v]);
      } else if (overwrite >= 0 && best_fit) {
        put(v, overwrite);
      } else if (overwrite >= 0) {
        put(v, std::min(overwrite, first_fit(v, 0)));
      } else if (best_fit && plain(v)) {
        occupancy_.select(instance_.first_section[v], instance_.end_section[v]);
        const std::int64_t size = instance_.pairwise() && !overwrites_
                                      ? instance_.rectangles[instance_.rectangle_row[v]].end
                                      : instance_.padded_size[v];
        put(v, occupancy_.best_fit(size, instance_.alignment[v]));
      } else {
        put(v, first_fit(v, 0));
      }
      height = std::max(height, offsets_[v] + instance_.size[v]);
      if (height >= limit) return height;
    }
  }
  return height;
}

std::int32_t ConstrainedDecoder::first_clash(const std::vector<std::int32_t>& order,
                                             const std::vector<std::int64_t>& offsets) {
  clear();
  for (std::int32_t buffer : order) {
    const auto v = static_cast<std::size_t>(buffer);
    const std::int64_t offset = offsets[v];
    if (offset < 0 || offset % instance_.alignment[v] != 0) return buffer;
    if (instance_.pinned(v) && instance_.fixed[v] != offset) return buffer;
    if (overwrites_ ? !may_overwrite(v, offset) : first_fit(v, offset) != offset) return buffer;
    put(v, offset);
  }
  return -1;
}

std::optional<std::pair<std::int32_t, std::int32_t>> clashing_pins(const Instance& instance) {
  std::vector<std::int32_t> pinned;
  for (std::size_t v = 0; v < instance.buffers(); ++v) {
    if (instance.pinned(v)) pinned.push_back(static_cast<std::int32_t>(v));
  }
  if (pinned.size() < 2) return std::nullopt;
  ConstrainedDecoder decoder(instance, std::numeric_limits<std::size_t>::max());
  const std::int32_t second = decoder.first_clash(pinned, instance.fixed);
  if (second < 0) return std::nullopt;
  const auto first = std::find_if(pinned.begin(), pinned.end(), [&](std::int32_t u) {
    return exclude_each_other(instance, u, second);
  });
  return {{*first, second}};
}

bool is_packing(const Instance& instance, const std::vector<std::int64_t>& offsets) {
  std::vector<std::int32_t> all(instance.buffers());
  std::iota(all.begin(), all.end(), 0);
  return ConstrainedDecoder(instance, std::numeric_limits<std::size_t>::max())
             .first_clash(all, offsets) < 0;
}

}  // namespace planner::offsets
