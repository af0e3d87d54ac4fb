// The offset-assignment instance on its maximal sections, its components and its lower bound.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace planner::offsets {

// Smallest multiple of `alignment` that is not below `value`. Both at least 0, alignment positive.
template <class T>
inline T round_up(T value, T alignment) {
  if (alignment == 1) return value;
  const T rest = value % alignment;
  return rest == 0 ? value : value + (alignment - rest);
}

// At times [lower, upper) a buffer uses the bytes [begin, end), counted from its offset.
struct Use {
  std::int64_t lower, upper, begin, end;
};

// Numbers strictly between the two.
struct OpenInterval {
  std::int64_t low, high;
};

// Decides for two buffers, in place of their uses, which offsets go together: offset(second) -
// offset(first) is in none of the intervals. At one time they share at most so many bytes.
struct PairRule {
  std::int32_t first, second;
  std::vector<OpenInterval> forbidden;
  std::int64_t shared;
};

// What is asked for: buffers with half-open lifetimes.
struct Requests {
  std::vector<std::int64_t> lower, upper, size, alignment;
  std::vector<std::int64_t> fixed;   // offsets, -1 where free; empty if all are
  std::vector<std::size_t> use_row;  // of each buffer's uses; empty if all use all, always
  std::vector<Use> use;
  std::vector<PairRule> rules;  // at most one for two buffers

  std::size_t buffers() const { return size.size(); }
  bool pinned(std::size_t buffer) const { return !fixed.empty() && fixed[buffer] >= 0; }
  // Whether lifetimes and sizes do not say all about which offsets go together.
  bool pairwise() const { return !use_row.empty() || !rules.empty(); }
  bool constrained() const { return pairwise() || !fixed.empty(); }
};

// Bytes [begin, end) of a buffer in use in the sections [first_section, end_section).
struct Rectangle {
  std::int32_t first_section, end_section;
  std::int64_t begin, end;
};

// What a buffer uses in some sections, in whole granules: so many bytes, from the lowest to the
// highest. In ascending order of sections, and disjoint.
struct UsedBytes {
  std::int32_t first_section, end_section;
  std::int64_t bytes, lowest, highest;
};

// Bytes that count for both buffers of a rule although they may be the same.
struct SharedBytes {
  std::int32_t first, second;
  std::int32_t first_section, end_section;
  std::int64_t bytes;
};

// A **section** is a maximal set of buffers (with uses: of uses) alive at one time; sections are
// numbered in time order, and two buffers conflict exactly if they share one, unless a rule says
// otherwise.
struct Instance : Requests {
  // Every offset is a multiple of the granule (gcd of the alignments), so the bytes behind a buffer
  // up to its padded size can never start another one.
  std::int64_t granule = 1;
  std::vector<std::int64_t> padded_size;

  std::int32_t sections = 0;
  std::vector<std::int32_t> first_section, end_section;  // from the first use to the last
  std::vector<std::int64_t> section_bytes;  // in use in each section, padded, less what is shared

  // Of pairwise instances; both in rows by buffer.
  std::vector<std::size_t> rectangle_row, used_row;
  std::vector<Rectangle> rectangles;  // ends are padded if all begins are multiples of the granule
  std::vector<UsedBytes> used;
  std::vector<SharedBytes> shared;
  bool whole_granules = true;  // all rectangles begin at multiples of the granule

  // Rules by buffer, ascending partners.
  struct RuleLink {
    std::int32_t partner, rule;
  };
  std::vector<std::size_t> rule_row;
  std::vector<RuleLink> rule_links;

  // There are rules, all of them **overwrites**, and no other constraint. The two buffers of an
  // overwrite have one size and alignment; one begins earlier, and its last section is the first of
  // the other. They lie at the same offset or apart.
  bool only_overwrites = false;

  // Proven: no placement is lower. Only the topmost buffer of a section may go without its padding.
  std::int64_t lower_bound = 0;

  double span(std::size_t buffer) const {
    return static_cast<double>(upper[buffer]) - static_cast<double>(lower[buffer]);
  }

  // Bytes of the busiest section of each buffer.
  std::vector<std::int64_t> busiest_section_bytes() const;
};

// Derives the rest from requests that are checked, in O(n log n) for n uses that are mostly not at
// the same time of the same buffer.
Instance make_instance(Requests requests);

// Boundaries s | s + 1 between the uses of the two buffers of a rule, as a range of s; empty if
// there are none.
std::pair<std::int32_t, std::int32_t> sections_between(const Instance& instance,
                                                       const PairRule& rule);

// Groups of buffers (ascending indices) whose sections nobody crosses: they are independent.
std::vector<std::vector<std::int32_t>> components(const Instance& instance);

// The buffers named, as an instance of their own.
Instance subset(const Instance& instance, const std::vector<std::int32_t>& buffers);

}  // namespace planner::offsets
