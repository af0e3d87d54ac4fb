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

// Buffers with half-open lifetimes. A **section** is a maximal set of buffers alive at one time;
// sections are numbered in time order, and two buffers conflict exactly if they share one.
struct Instance {
  std::vector<std::int64_t> lower, upper, size, alignment;

  // Every offset is a multiple of the granule (gcd of the alignments), so the bytes behind a buffer
  // up to its padded size can never start another one.
  std::int64_t granule = 1;
  std::vector<std::int64_t> padded_size;

  std::int32_t sections = 0;
  std::vector<std::int32_t> first_section, end_section;  // half-open range of each buffer
  std::vector<std::int64_t> section_bytes;               // padded sizes alive in each section

  // Proven: no placement is lower. Only the topmost buffer of a section may go without its padding.
  std::int64_t lower_bound = 0;

  std::size_t buffers() const { return size.size(); }

  double span(std::size_t buffer) const {
    return static_cast<double>(upper[buffer]) - static_cast<double>(lower[buffer]);
  }

  // Bytes of the busiest section of each buffer.
  std::vector<std::int64_t> busiest_section_bytes() const;
};

// Takes n buffers and derives the rest in O(n log n).
Instance make_instance(std::vector<std::int64_t> lower, std::vector<std::int64_t> upper,
                       std::vector<std::int64_t> size, std::vector<std::int64_t> alignment);

// Groups of buffers (ascending indices) whose sections nobody crosses: they are independent.
std::vector<std::vector<std::int32_t>> components(const Instance& instance);

// The buffers named, as an instance of their own.
Instance subset(const Instance& instance, const std::vector<std::int32_t>& buffers);

}  // namespace planner::offsets
