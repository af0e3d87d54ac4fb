#include "offsets_rectangles.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <set>
#include <utility>
#include <vector>

#include "offsets_sections.hpp"

namespace planner::offsets {
namespace {

// Appends what the buffer of these rectangles uses in each section.
void append_used_bytes(const Rectangle* begin, const Rectangle* end, std::int64_t granule,
                       std::vector<UsedBytes>& used) {
  std::vector<std::int32_t> cuts;
  std::vector<const Rectangle*> starting, ending;
  for (const Rectangle* r = begin; r != end; ++r) {
    cuts.push_back(r->first_section);
    cuts.push_back(r->end_section);
    starting.push_back(r);
    ending.push_back(r);
  }
  std::sort(cuts.begin(), cuts.end());
  cuts.erase(std::unique(cuts.begin(), cuts.end()), cuts.end());
  std::sort(starting.begin(), starting.end(), [](const Rectangle* x, const Rectangle* y) {
    return x->first_section < y->first_section;
  });
  std::sort(ending.begin(), ending.end(), [](const Rectangle* x, const Rectangle* y) {
    return x->end_section < y->end_section;
  });
  const std::size_t first = used.size();
  std::multiset<std::pair<std::int64_t, std::int64_t>> alive;
  std::size_t started = 0;
  std::size_t ended = 0;
  for (std::size_t k = 0; k + 1 < cuts.size(); ++k) {
    // Rounding both ends up keeps disjoint bytes disjoint, wherever they are.
    const auto bytes_of = [granule](const Rectangle* r) {
      return std::pair{round_up(r->begin, granule), round_up(r->end, granule)};
    };
    for (; ended < ending.size() && ending[ended]->end_section <= cuts[k]; ++ended) {
      alive.erase(alive.find(bytes_of(ending[ended])));
    }
    for (; started < starting.size() && starting[started]->first_section <= cuts[k]; ++started) {
      alive.insert(bytes_of(starting[started]));
    }
    UsedBytes piece{cuts[k], cuts[k + 1], 0, 0, 0};
    for (const auto& [low, high] : alive) {
      if (low == high) continue;
      if (piece.bytes == 0) piece.lowest = piece.highest = low;
      piece.bytes += std::max<std::int64_t>(0, high - std::max(low, piece.highest));
      piece.highest = std::max(piece.highest, high);
    }
    if (piece.bytes == 0) continue;
    if (used.size() > first && used.back().end_section == piece.first_section &&
        used.back().bytes == piece.bytes && used.back().lowest == piece.lowest &&
        used.back().highest == piece.highest) {
      used.back().end_section = piece.end_section;
    } else {
      used.push_back(piece);
    }
  }
}

// Sections and rectangles of a pairwise instance.
void add_uses(Instance& instance) {
  const std::size_t n = instance.buffers();
  if (instance.use_row.empty()) {
    instance.use_row.resize(n + 1);
    std::iota(instance.use_row.begin(), instance.use_row.end(), std::size_t{0});
    for (std::size_t v = 0; v < n; ++v) {
      instance.use.push_back({instance.lower[v], instance.upper[v], 0, instance.size[v]});
    }
  }
  for (const Use& use : instance.use) {
    if (use.begin % instance.granule != 0) instance.whole_granules = false;
  }
  std::vector<std::int64_t> lower, upper;
  for (const Use& use : instance.use) {
    lower.push_back(use.lower);
    upper.push_back(use.upper);
  }
  const Sections sections = number_sections(lower, upper);
  instance.sections = sections.count;
  instance.rectangle_row = instance.use_row;
  for (std::size_t k = 0; k < instance.use.size(); ++k) {
    const Use& use = instance.use[k];
    instance.rectangles.push_back(
        {sections.first[k], sections.end[k], use.begin,
         instance.whole_granules ? round_up(use.end, instance.granule) : use.end});
  }
  instance.used_row.push_back(0);
  for (std::size_t v = 0; v < n; ++v) {
    const Rectangle* begin = instance.rectangles.data() + instance.rectangle_row[v];
    const Rectangle* end = instance.rectangles.data() + instance.rectangle_row[v + 1];
    append_used_bytes(begin, end, instance.granule, instance.used);
    instance.used_row.push_back(instance.used.size());
    std::int32_t first = begin->first_section;
    std::int32_t last = begin->end_section;
    for (const Rectangle* r = begin; r != end; ++r) {
      first = std::min(first, r->first_section);
      last = std::max(last, r->end_section);
    }
    instance.first_section.push_back(first);
    instance.end_section.push_back(last);
  }
}

void link_rules(Instance& instance) {
  instance.rule_row.assign(instance.buffers() + 1, 0);
  for (const PairRule& rule : instance.rules) {
    ++instance.rule_row[static_cast<std::size_t>(rule.first) + 1];
    ++instance.rule_row[static_cast<std::size_t>(rule.second) + 1];
  }
  std::partial_sum(instance.rule_row.begin(), instance.rule_row.end(), instance.rule_row.begin());
  instance.rule_links.resize(2 * instance.rules.size());
  std::vector<std::size_t> next(instance.rule_row.begin(), instance.rule_row.end() - 1);
  for (std::size_t k = 0; k < instance.rules.size(); ++k) {
    const auto rule = static_cast<std::int32_t>(k);
    const auto [first, second] = std::pair{instance.rules[k].first, instance.rules[k].second};
    instance.rule_links[next[static_cast<std::size_t>(first)]++] = {second, rule};
    instance.rule_links[next[static_cast<std::size_t>(second)]++] = {first, rule};
  }
  for (std::size_t v = 0; v < instance.buffers(); ++v) {
    std::sort(instance.rule_links.begin() + static_cast<std::ptrdiff_t>(instance.rule_row[v]),
              instance.rule_links.begin() + static_cast<std::ptrdiff_t>(instance.rule_row[v + 1]),
              [](const Instance::RuleLink& x, const Instance::RuleLink& y) {
                return x.partner < y.partner;
              });
  }
}

bool is_overwrite(const Instance& instance, const PairRule& rule) {
  auto u = static_cast<std::size_t>(rule.first);
  auto v = static_cast<std::size_t>(rule.second);
  const std::int64_t size = instance.size[u];
  if (instance.lower[u] > instance.lower[v]) std::swap(u, v);
  const auto is = [](const OpenInterval& interval, std::int64_t low, std::int64_t high) {
    return interval.low == low && interval.high == high;
  };
  return instance.size[v] == size && instance.alignment[u] == instance.alignment[v] &&
         instance.lower[u] < instance.lower[v] && instance.upper[u] <= instance.upper[v] &&
         instance.end_section[u] == instance.first_section[v] + 1 && rule.shared >= size &&
         rule.forbidden.size() == 2 && is(rule.forbidden[0], -size, 0) &&
         is(rule.forbidden[1], 0, size);
}

// Where both buffers of a rule use bytes, those that may be the same.
void add_shared_bytes(Instance& instance) {
  std::vector<char> overwriting(instance.buffers(), 0);
  for (const PairRule& rule : instance.rules) {
    if (rule.shared <= 0) continue;
    const auto u = static_cast<std::size_t>(rule.first);
    const auto v = static_cast<std::size_t>(rule.second);
    if (instance.only_overwrites) {
      // A buffer overwrites one of several at most: those are there together.
      const std::size_t later = instance.lower[u] > instance.lower[v] ? u : v;
      if (overwriting[later]) continue;
      overwriting[later] = 1;
    }
    // So many separate ranges may be shared at once, each with a begin and an end to be rounded.
    const auto ranges =
        static_cast<std::int64_t>(instance.rectangle_row[u + 1] - instance.rectangle_row[u] +
                                  instance.rectangle_row[v + 1] - instance.rectangle_row[v] - 1);
    std::size_t k = instance.used_row[u];
    std::size_t l = instance.used_row[v];
    while (k < instance.used_row[u + 1] && l < instance.used_row[v + 1]) {
      const UsedBytes& a = instance.used[k];
      const UsedBytes& b = instance.used[l];
      const std::int32_t first = std::max(a.first_section, b.first_section);
      const std::int32_t end = std::min(a.end_section, b.end_section);
      if (first < end) {
        std::int64_t bytes = std::min(a.bytes, b.bytes);
        if (rule.shared < bytes) {
          const std::int64_t rounding = ranges * (instance.granule - 1);
          bytes = std::min(bytes,
                           (rule.shared + rounding) / instance.granule * instance.granule);
        }
        instance.shared.push_back({rule.first, rule.second, first, end, bytes});
      }
      ++(a.end_section < b.end_section ? k : l);
    }
  }
}

}  // namespace

void add_rectangles(Instance& instance) {
  const bool whole = instance.use_row.empty() && instance.fixed.empty();
  link_rules(instance);
  add_uses(instance);
  instance.only_overwrites =
      whole && !instance.rules.empty() &&
      std::all_of(instance.rules.begin(), instance.rules.end(),
                  [&](const PairRule& rule) { return is_overwrite(instance, rule); });
  add_shared_bytes(instance);
}

}  // namespace planner::offsets
