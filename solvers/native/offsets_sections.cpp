#include "offsets_sections.hpp"

#include <algorithm>
#include <cstddef>

namespace planner::offsets {

// Time is cut where lifetimes end; a piece in which nothing starts holds a subset of the piece
// before it and gets no number.
Sections number_sections(const std::vector<std::int64_t>& lower,
                         const std::vector<std::int64_t>& upper) {
  const std::size_t n = lower.size();
  std::vector<std::int64_t> times;
  times.reserve(2 * n);
  times.insert(times.end(), lower.begin(), lower.end());
  times.insert(times.end(), upper.begin(), upper.end());
  std::sort(times.begin(), times.end());
  times.erase(std::unique(times.begin(), times.end()), times.end());

  auto index_of = [&times](std::int64_t time) {
    return static_cast<std::size_t>(std::lower_bound(times.begin(), times.end(), time) -
                                    times.begin());
  };
  std::vector<std::size_t> start(n), end(n);
  std::vector<char> something_ends(times.size(), 0);
  for (std::size_t v = 0; v < n; ++v) {
    start[v] = index_of(lower[v]);
    end[v] = index_of(upper[v]);
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
  Sections sections;
  for (std::size_t p = 0; p < section.size(); ++p) {
    section[p] = sections.count;
    if (something_starts[p]) ++sections.count;
  }
  sections.first.resize(n);
  sections.end.resize(n);
  for (std::size_t v = 0; v < n; ++v) {
    sections.first[v] = section[static_cast<std::size_t>(piece[start[v]])];
    sections.end[v] = section[static_cast<std::size_t>(piece[end[v]])];
  }
  return sections;
}

}  // namespace planner::offsets
