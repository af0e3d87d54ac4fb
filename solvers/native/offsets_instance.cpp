#include "offsets_instance.hpp"

#include <algorithm>
#include <numeric>
#include <set>
#include <unordered_map>
#include <utility>

namespace planner::offsets {
namespace {

struct SectionRange {
  std::int32_t first, end;
};

// Numbers the sections and says in which ones each lifetime is. Time is cut where lifetimes end; a
// piece in which nothing starts holds a subset of the piece before it and gets no number.
template <class Lifetimes>
std::vector<SectionRange> number_sections(std::size_t n, const Lifetimes& lifetimes,
                                          std::int32_t& sections) {
  std::vector<std::int64_t> times;
  times.reserve(2 * n);
  for (std::size_t v = 0; v < n; ++v) times.push_back(lifetimes(v).first);
  for (std::size_t v = 0; v < n; ++v) times.push_back(lifetimes(v).second);
  std::sort(times.begin(), times.end());
  times.erase(std::unique(times.begin(), times.end()), times.end());

  auto index_of = [&times](std::int64_t time) {
    return static_cast<std::size_t>(std::lower_bound(times.begin(), times.end(), time) -
                                    times.begin());
  };
  std::vector<std::size_t> start(n), end(n);
  std::vector<char> something_ends(times.size(), 0);
  for (std::size_t v = 0; v < n; ++v) {
    start[v] = index_of(lifetimes(v).first);
    end[v] = index_of(lifetimes(v).second);
    something_ends[end[v]] = 1;
  }
  std::vector<std::int32_t> piece(times.size());
  std::int32_t pieces = 0;
  for (std::size_t k = 0; k < times.size(); ++k) {
    if (something_ends[k]) ++pieces;
    piece[k] = pieces;
  }
  std::vector<char> something_starts(static_cast<std::size_t>(pieces) + 1, 0);
  for (std::size_t v = 0; v < n; ++v) {
    something_starts[static_cast<std::size_t>(piece[start[v]])] = 1;
  }
  std::vector<std::int32_t> section(static_cast<std::size_t>(pieces) + 1);
  sections = 0;
  for (std::size_t p = 0; p < section.size(); ++p) {
    section[p] = sections;
    if (something_starts[p]) ++sections;
  }
  std::vector<SectionRange> ranges(n);
  for (std::size_t v = 0; v < n; ++v) {
    ranges[v] = {section[static_cast<std::size_t>(piece[start[v]])],
                 section[static_cast<std::size_t>(piece[end[v]])]};
  }
  return ranges;
}

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
void add_rectangles(Instance& instance) {
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
  const std::vector<SectionRange> ranges = number_sections(
      instance.use.size(),
      [&instance](std::size_t k) {
        return std::pair{instance.use[k].lower, instance.use[k].upper};
      },
      instance.sections);
  instance.rectangle_row = instance.use_row;
  for (std::size_t k = 0; k < ranges.size(); ++k) {
    const Use& use = instance.use[k];
    instance.rectangles.push_back(
        {ranges[k].first, ranges[k].end, use.begin,
         instance.whole_granules ? round_up(use.end, instance.granule) : use.end});
  }
  instance.used_row.push_back(0);
  for (std::size_t v = 0; v < n; ++v) {
    const Rectangle* begin = instance.rectangles.data() + instance.rectangle_row[v];
    const Rectangle* end = instance.rectangles.data() + instance.rectangle_row[v + 1];
    append_used_bytes(begin, end, instance.granule, instance.used);
    instance.used_row.push_back(instance.used.size());
    SectionRange hull{begin->first_section, begin->end_section};
    for (const Rectangle* r = begin; r != end; ++r) {
      hull = {std::min(hull.first, r->first_section), std::max(hull.end, r->end_section)};
    }
    instance.first_section.push_back(hull.first);
    instance.end_section.push_back(hull.end);
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

// Where both buffers of a rule use bytes, those that may be the same.
void add_shared_bytes(Instance& instance) {
  for (const PairRule& rule : instance.rules) {
    if (rule.shared <= 0) continue;
    const auto u = static_cast<std::size_t>(rule.first);
    const auto v = static_cast<std::size_t>(rule.second);
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
          bytes = std::min(
              bytes, (rule.shared + rounding) / instance.granule * instance.granule);
        }
        instance.shared.push_back({rule.first, rule.second, first, end, bytes});
      }
      ++(a.end_section < b.end_section ? k : l);
    }
  }
}

// Height that a buffer does not need above the padded bytes that it uses in some sections.
struct Padding {
  std::int32_t first_section, end_section;
  std::int64_t bytes;
};

std::vector<Padding> paddings(const Instance& instance) {
  std::vector<Padding> all;
  for (std::size_t v = 0; v < instance.buffers(); ++v) {
    if (!instance.pairwise()) {
      all.push_back({instance.first_section[v], instance.end_section[v],
                     instance.padded_size[v] - instance.size[v]});
      continue;
    }
    for (std::size_t k = instance.used_row[v]; k < instance.used_row[v + 1]; ++k) {
      const UsedBytes& used = instance.used[k];
      all.push_back({used.first_section, used.end_section, used.highest - instance.size[v]});
    }
  }
  return all;
}

// For each section the largest padding among its buffers, in nearly linear time: buffers in order
// of descending padding paint the sections not painted yet.
std::vector<std::int64_t> largest_padding(const Instance& instance) {
  std::vector<std::int64_t> largest(static_cast<std::size_t>(instance.sections), 0);
  if (instance.granule == 1 && !instance.pairwise()) return largest;
  std::vector<Padding> brushes = paddings(instance);
  std::stable_sort(brushes.begin(), brushes.end(),
                   [](const Padding& x, const Padding& y) { return x.bytes > y.bytes; });
  std::vector<std::int32_t> unpainted(static_cast<std::size_t>(instance.sections) + 1);
  std::iota(unpainted.begin(), unpainted.end(), 0);
  auto next_unpainted = [&unpainted](std::int32_t s) {
    while (unpainted[static_cast<std::size_t>(s)] != s) {
      auto& link = unpainted[static_cast<std::size_t>(s)];
      link = unpainted[static_cast<std::size_t>(link)];
      s = link;
    }
    return s;
  };
  for (const Padding& brush : brushes) {
    std::int32_t s = next_unpainted(brush.first_section);
    while (s < brush.end_section) {
      largest[static_cast<std::size_t>(s)] = brush.bytes;
      unpainted[static_cast<std::size_t>(s)] = s + 1;
      s = next_unpainted(s);
    }
  }
  return largest;
}

std::vector<std::int64_t> bytes_of_sections(const Instance& instance) {
  std::vector<std::int64_t> bytes(static_cast<std::size_t>(instance.sections) + 1, 0);
  auto add = [&bytes](std::int32_t first, std::int32_t end, std::int64_t more) {
    bytes[static_cast<std::size_t>(first)] += more;
    bytes[static_cast<std::size_t>(end)] -= more;
  };
  if (instance.pairwise()) {
    for (const UsedBytes& used : instance.used) {
      add(used.first_section, used.end_section, used.bytes);
    }
    for (const SharedBytes& shared : instance.shared) {
      add(shared.first_section, shared.end_section, -shared.bytes);
    }
  } else {
    for (std::size_t v = 0; v < instance.buffers(); ++v) {
      add(instance.first_section[v], instance.end_section[v], instance.padded_size[v]);
    }
  }
  std::partial_sum(bytes.begin(), bytes.end(), bytes.begin());
  bytes.pop_back();
  return bytes;
}

}  // namespace

std::vector<std::int64_t> Instance::busiest_section_bytes() const {
  // Sparse table: row k holds the maxima of 2^k consecutive sections.
  std::vector<std::vector<std::int64_t>> maxima{section_bytes};
  for (std::size_t width = 1; 2 * width <= section_bytes.size(); width *= 2) {
    const std::vector<std::int64_t>& row = maxima.back();
    std::vector<std::int64_t> next(row.size() - width);
    for (std::size_t s = 0; s < next.size(); ++s) next[s] = std::max(row[s], row[s + width]);
    maxima.push_back(std::move(next));
  }
  std::vector<std::int64_t> busiest(buffers());
  for (std::size_t v = 0; v < buffers(); ++v) {
    const auto first = static_cast<std::size_t>(first_section[v]);
    const auto end = static_cast<std::size_t>(end_section[v]);
    std::size_t k = 0;
    while ((std::size_t{2} << k) <= end - first) ++k;
    busiest[v] = std::max(maxima[k][first], maxima[k][end - (std::size_t{1} << k)]);
  }
  return busiest;
}

Instance make_instance(Requests requests) {
  Instance instance;
  static_cast<Requests&>(instance) = std::move(requests);
  const std::size_t n = instance.buffers();
  const std::vector<std::int64_t>& fixed = instance.fixed;
  if (std::all_of(fixed.begin(), fixed.end(), [](std::int64_t offset) { return offset < 0; })) {
    instance.fixed.clear();
  }
  if (n == 0) return instance;

  instance.granule = 0;
  for (std::int64_t a : instance.alignment) instance.granule = std::gcd(instance.granule, a);
  instance.padded_size.resize(n);
  for (std::size_t v = 0; v < n; ++v) {
    instance.padded_size[v] = round_up(instance.size[v], instance.granule);
  }

  if (instance.pairwise()) {
    link_rules(instance);
    add_rectangles(instance);
    add_shared_bytes(instance);
  } else {
    for (const auto [first, end] : number_sections(
             n,
             [&instance](std::size_t v) { return std::pair{instance.lower[v], instance.upper[v]}; },
             instance.sections)) {
      instance.first_section.push_back(first);
      instance.end_section.push_back(end);
    }
  }
  instance.section_bytes = bytes_of_sections(instance);

  const std::vector<std::int64_t> padding = largest_padding(instance);
  for (std::size_t s = 0; s < padding.size(); ++s) {
    instance.lower_bound = std::max(instance.lower_bound, instance.section_bytes[s] - padding[s]);
  }
  for (std::size_t v = 0; v < n; ++v) {
    const std::int64_t lowest = instance.pinned(v) ? instance.fixed[v] : 0;
    instance.lower_bound = std::max(instance.lower_bound, lowest + instance.size[v]);
  }
  return instance;
}

std::pair<std::int32_t, std::int32_t> sections_between(const Instance& instance,
                                                       const PairRule& rule) {
  const auto u = static_cast<std::size_t>(rule.first);
  const auto v = static_cast<std::size_t>(rule.second);
  return {std::min(instance.end_section[u], instance.end_section[v]) - 1,
          std::max(instance.first_section[u], instance.first_section[v])};
}

std::vector<std::vector<std::int32_t>> components(const Instance& instance) {
  const std::size_t n = instance.buffers();
  const auto sections = static_cast<std::size_t>(instance.sections);
  std::vector<std::int32_t> crossing(sections + 1, 0);  // buffers alive on both sides of s | s + 1
  for (std::size_t v = 0; v < n; ++v) {
    ++crossing[static_cast<std::size_t>(instance.first_section[v])];
    --crossing[static_cast<std::size_t>(instance.end_section[v] - 1)];
  }
  for (const PairRule& rule : instance.rules) {
    if (rule.forbidden.empty()) continue;
    const auto [begin, end] = sections_between(instance, rule);
    if (begin >= end) continue;
    ++crossing[static_cast<std::size_t>(begin)];
    --crossing[static_cast<std::size_t>(end)];
  }
  std::partial_sum(crossing.begin(), crossing.end(), crossing.begin());
  std::vector<std::size_t> component_of(sections);
  std::size_t count = 0;
  for (std::size_t s = 0; s < sections; ++s) {
    component_of[s] = count;
    if (crossing[s] == 0) ++count;
  }
  std::vector<std::vector<std::int32_t>> groups(count);
  for (std::size_t v = 0; v < n; ++v) {
    groups[component_of[static_cast<std::size_t>(instance.first_section[v])]].push_back(
        static_cast<std::int32_t>(v));
  }
  return groups;
}

Instance subset(const Instance& instance, const std::vector<std::int32_t>& buffers) {
  auto gather = [&buffers](const std::vector<std::int64_t>& values) {
    std::vector<std::int64_t> chosen;
    chosen.reserve(buffers.size());
    for (std::int32_t v : buffers) chosen.push_back(values[static_cast<std::size_t>(v)]);
    return chosen;
  };
  Requests requests;
  requests.lower = gather(instance.lower);
  requests.upper = gather(instance.upper);
  requests.size = gather(instance.size);
  requests.alignment = gather(instance.alignment);
  if (!instance.fixed.empty()) requests.fixed = gather(instance.fixed);
  if (!instance.use_row.empty()) {
    requests.use_row.push_back(0);
    for (std::int32_t v : buffers) {
      const auto row = instance.use_row.begin() + v;
      requests.use.insert(requests.use.end(),
                          instance.use.begin() + static_cast<std::ptrdiff_t>(row[0]),
                          instance.use.begin() + static_cast<std::ptrdiff_t>(row[1]));
      requests.use_row.push_back(requests.use.size());
    }
  }
  if (!instance.rules.empty()) {
    std::unordered_map<std::int32_t, std::int32_t> index;
    for (std::size_t k = 0; k < buffers.size(); ++k) {
      index[buffers[k]] = static_cast<std::int32_t>(k);
    }
    for (std::int32_t v : buffers) {
      const auto row = static_cast<std::size_t>(v);
      for (std::size_t k = instance.rule_row[row]; k < instance.rule_row[row + 1]; ++k) {
        const PairRule& rule =
            instance.rules[static_cast<std::size_t>(instance.rule_links[k].rule)];
        const auto second = index.find(rule.second);
        if (rule.first != v || second == index.end()) continue;
        requests.rules.push_back({index[v], second->second, rule.forbidden, rule.shared});
      }
    }
  }
  return make_instance(std::move(requests));
}

}  // namespace planner::offsets
