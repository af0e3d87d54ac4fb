#include "offsets_instance.hpp"

#include <algorithm>
#include <numeric>
#include <unordered_map>
#include <utility>

#include "offsets_rectangles.hpp"
#include "offsets_sections.hpp"

namespace planner::offsets {
namespace {

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

bool uses_everything(const Requests& requests, std::size_t buffer) {
  const std::size_t first = requests.use_row[buffer];
  if (requests.use_row[buffer + 1] != first + 1) return false;
  const Use& use = requests.use[first];
  return use.lower == requests.lower[buffer] && use.upper == requests.upper[buffer] &&
         use.begin == 0 && use.end == requests.size[buffer];
}

// Without constraints the search and the greedy orders know more.
void drop_what_says_nothing(Requests& requests) {
  const std::vector<std::int64_t>& fixed = requests.fixed;
  if (std::all_of(fixed.begin(), fixed.end(), [](std::int64_t offset) { return offset < 0; })) {
    requests.fixed.clear();
  }
  if (requests.use_row.empty()) return;
  for (std::size_t v = 0; v < requests.buffers(); ++v) {
    if (!uses_everything(requests, v)) return;
  }
  requests.use_row.clear();
  requests.use.clear();
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
  drop_what_says_nothing(requests);
  Instance instance;
  static_cast<Requests&>(instance) = std::move(requests);
  const std::size_t n = instance.buffers();
  if (n == 0) return instance;

  instance.granule = 0;
  for (std::int64_t a : instance.alignment) instance.granule = std::gcd(instance.granule, a);
  instance.padded_size.resize(n);
  for (std::size_t v = 0; v < n; ++v) {
    instance.padded_size[v] = round_up(instance.size[v], instance.granule);
  }

  if (instance.pairwise()) {
    add_rectangles(instance);
  } else {
    Sections sections = number_sections(instance.lower, instance.upper);
    instance.sections = sections.count;
    instance.first_section = std::move(sections.first);
    instance.end_section = std::move(sections.end);
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
