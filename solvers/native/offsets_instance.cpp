#include "offsets_instance.hpp"

#include <algorithm>
#include <numeric>
#include <utility>

namespace planner::offsets {
namespace {

// Numbers the sections. Time is cut where lifetimes end; a piece in which nothing starts holds a
// subset of the piece before it and gets no number.
void number_sections(Instance& instance) {
  const std::size_t n = instance.buffers();
  std::vector<std::int64_t> times;
  times.reserve(2 * n);
  times.insert(times.end(), instance.lower.begin(), instance.lower.end());
  times.insert(times.end(), instance.upper.begin(), instance.upper.end());
  std::sort(times.begin(), times.end());
  times.erase(std::unique(times.begin(), times.end()), times.end());

  auto index_of = [&times](std::int64_t time) {
    return static_cast<std::size_t>(std::lower_bound(times.begin(), times.end(), time) -
                                    times.begin());
  };
  std::vector<std::size_t> start(n), end(n);
  std::vector<char> something_ends(times.size(), 0);
  for (std::size_t v = 0; v < n; ++v) {
    start[v] = index_of(instance.lower[v]);
    end[v] = index_of(instance.upper[v]);
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
  for (std::size_t p = 0; p < section.size(); ++p) {
    section[p] = instance.sections;
    if (something_starts[p]) ++instance.sections;
  }
  instance.first_section.resize(n);
  instance.end_section.resize(n);
  for (std::size_t v = 0; v < n; ++v) {
    instance.first_section[v] = section[static_cast<std::size_t>(piece[start[v]])];
    instance.end_section[v] = section[static_cast<std::size_t>(piece[end[v]])];
  }
}

// For each section the largest padding among its buffers, in nearly linear time: buffers in order
// of descending padding paint the sections not painted yet.
std::vector<std::int64_t> largest_padding(const Instance& instance) {
  const std::size_t n = instance.buffers();
  std::vector<std::int64_t> largest(static_cast<std::size_t>(instance.sections), 0);
  if (instance.granule == 1) return largest;
  auto padding = [&instance](std::int32_t v) {
    const auto u = static_cast<std::size_t>(v);
    return instance.padded_size[u] - instance.size[u];
  };
  std::vector<std::int32_t> order(n);
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](std::int32_t u, std::int32_t v) { return padding(u) > padding(v); });
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
  for (std::int32_t v : order) {
    const std::int32_t end = instance.end_section[static_cast<std::size_t>(v)];
    std::int32_t s = next_unpainted(instance.first_section[static_cast<std::size_t>(v)]);
    while (s < end) {
      largest[static_cast<std::size_t>(s)] = padding(v);
      unpainted[static_cast<std::size_t>(s)] = s + 1;
      s = next_unpainted(s);
    }
  }
  return largest;
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

  number_sections(instance);
  const auto sections = static_cast<std::size_t>(instance.sections);
  instance.section_bytes.assign(sections + 1, 0);
  for (std::size_t v = 0; v < n; ++v) {
    instance.section_bytes[static_cast<std::size_t>(instance.first_section[v])] +=
        instance.padded_size[v];
    instance.section_bytes[static_cast<std::size_t>(instance.end_section[v])] -=
        instance.padded_size[v];
  }
  std::partial_sum(instance.section_bytes.begin(), instance.section_bytes.end(),
                   instance.section_bytes.begin());
  instance.section_bytes.pop_back();

  const std::vector<std::int64_t> padding = largest_padding(instance);
  for (std::size_t s = 0; s < sections; ++s) {
    instance.lower_bound = std::max(instance.lower_bound, instance.section_bytes[s] - padding[s]);
  }
  for (std::size_t v = 0; v < n; ++v) {
    if (!instance.pinned(v)) continue;
    instance.lower_bound = std::max(instance.lower_bound, instance.fixed[v] + instance.size[v]);
  }
  return instance;
}

std::vector<std::vector<std::int32_t>> components(const Instance& instance) {
  const std::size_t n = instance.buffers();
  const auto sections = static_cast<std::size_t>(instance.sections);
  std::vector<std::int32_t> crossing(sections + 1, 0);  // buffers alive on both sides of s | s + 1
  for (std::size_t v = 0; v < n; ++v) {
    ++crossing[static_cast<std::size_t>(instance.first_section[v])];
    --crossing[static_cast<std::size_t>(instance.end_section[v] - 1)];
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
  Requests requests{gather(instance.lower), gather(instance.upper), gather(instance.size),
                    gather(instance.alignment), {}};
  if (!instance.fixed.empty()) requests.fixed = gather(instance.fixed);
  return make_instance(std::move(requests));
}

}  // namespace planner::offsets
