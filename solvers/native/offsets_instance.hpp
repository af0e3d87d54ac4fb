// The offset-assignment instance on its maximal sections, its components and its lower bound.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace planner::offsets {

// Smallest multiple of `alignment` that is not below `value`. Both at least 0, alignment positive.
template <class T>
inline T round_up(T value, T alignment) {
  if (alignment == 1) return value;
  const T rest = value % alignment;
  return rest == 0 ? value : value + (alignment - rest);
}

// What is asked for: buffers with half-open lifetimes.
struct Requests {
  std::vector<std::int64_t> lower, upper, size, alignment;
  std::vector<std::int64_t> fixed;  // offsets, -1 where free; empty if all are

  std::size_t buffers() const { return size.size(); }
  bool pinned(std::size_t buffer) const { return !fixed.empty() && fixed[buffer] >= 0; }
  bool constrained() const { return !fixed.empty(); }
};

// A **section** is a maximal set of buffers alive at one time;
// sections are numbered in time order, and two buffers conflict exactly if they share one.
struct Instance : Requests {
  // Every offset is a multiple of the granule (gcd of the alignments), so the bytes behind a buffer
  // up to its padded size can never start another one.
  std::int64_t granule = 1;
  std::vector<std::int64_t> padded_size;

  std::int32_t sections = 0;
  std::vector<std::int32_t> first_section, end_section;  // half-open range of each buffer
  std::vector<std::int64_t> section_bytes;               // padded sizes alive in each section

  // Proven: no placement is lower. Only the topmost buffer of a section may go without its padding.
  std::int64_t lower_bound = 0;

  double span(std::size_t buffer) const {
    return static_cast<double>(upper[buffer]) - static_cast<double>(lower[buffer]);
  }

  // Bytes of the busiest section of each buffer.
  std::vector<std::int64_t> busiest_section_bytes() const;
};

// Derives the rest from requests that are checked, in O(n log n).
Instance make_instance(Requests requests);

// Groups of buffers (ascending indices) whose sections nobody crosses: they are independent.
std::vector<std::vector<std::int32_t>> components(const Instance& instance);

// The buffers named, as an instance of their own.
Instance subset(const Instance& instance, const std::vector<std::int32_t>& buffers);

}  // namespace planner::offsets
