// The lowest and the highest set bit of a word, which C++17 does not have.
#pragma once

#include <cstdint>

#if defined(_MSC_VER)
#include <intrin.h>
#endif

namespace planner::order {

// `word` is not 0.
inline int lowest_bit(std::uint64_t word) {
#if defined(_MSC_VER)
  unsigned long position;
  _BitScanForward64(&position, word);
  return static_cast<int>(position);
#else
  return __builtin_ctzll(word);
#endif
}

// `word` is not 0.
inline int highest_bit(std::uint64_t word) {
#if defined(_MSC_VER)
  unsigned long position;
  _BitScanReverse64(&position, word);
  return static_cast<int>(position);
#else
  return 63 - __builtin_clzll(word);
#endif
}

}  // namespace planner::order
