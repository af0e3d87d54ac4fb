// Which buffer a node decides.
//
// The lowest of all unplaced buffers will do, and so will any buffer below which no unplaced
// neighbour fits: neighbours are then above it, whatever lies elsewhere. That lets the search work
// where it is likely to fail, and finish there before it turns to the rest.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>

#include "offsets_place_or_raise.hpp"

namespace planner::offsets {
namespace {

// Each failure weighs so much more than the one before: recent ones count most.
constexpr double kWeightGrowth = 1.0003;
constexpr double kLargestWeight = 1e9;

}  // namespace

template <class Integer, bool kPairwise>
std::int32_t PlaceOrRaise<Integer, kPairwise>::buffer_to_decide(const Frame& frame) {
  if constexpr (kPairwise) return lowest_buffer(frame);
  switch (configuration_.choice) {
    case Choice::kLowest:
    case Choice::kFullestSection:
      return lowest_buffer(frame);
    case Choice::kCriticalSection:
      return lowest_around(frame, critical_section(frame));
  }
  return -1;
}

template <class Integer, bool kPairwise>
bool PlaceOrRaise<Integer, kPairwise>::lies_lower(std::int32_t buffer, std::int32_t other) const {
  const Integer lowest = bounds_.lowest[index(buffer)];
  const Integer others = bounds_.lowest[index(other)];
  return lowest < others || (lowest == others && rank_[index(buffer)] < rank_[index(other)]);
}

// Some unplaced buffer of a section has to lie so low that the others fit above it. The section
// with the fewest candidates for that, for the failures it has seen.
template <class Integer, bool kPairwise>
std::int32_t PlaceOrRaise<Integer, kPairwise>::critical_section(const Frame& frame) {
  std::fill(candidates_.begin() + frame.first_section, candidates_.begin() + frame.end_section, 0);
  for (std::size_t k = frame.list_begin; k < frame.list_end; ++k) {
    const std::int32_t v = list_[k];
    if (placed(v)) continue;
    const Integer room = capacity_ - bounds_.lowest[index(v)];
    for (std::int32_t s = instance_.first_section[index(v)]; s < instance_.end_section[index(v)];
         ++s) {
      candidates_[index(s)] += total_[index(s)] <= room ? 1 : 0;
    }
  }
  std::int32_t critical = -1;
  double least = std::numeric_limits<double>::max();
  for (std::int32_t s = frame.first_section; s < frame.end_section; ++s) {
    if (total_[index(s)] == 0) continue;
    const double measure = candidates_[index(s)] / std::sqrt(failures_[index(s)]);
    if (measure < least ||
        (measure == least && total_[index(s)] > total_[index(critical)])) {
      critical = s;
      least = measure;
    }
  }
  return critical;
}

// From the lowest buffer of the section down to one below which no neighbour fits. That one does
// not float: a floating buffer is above a neighbour.
template <class Integer, bool kPairwise>
std::int32_t PlaceOrRaise<Integer, kPairwise>::lowest_around(const Frame& frame, std::int32_t section) const {
  std::int32_t lowest = -1;
  for (std::size_t k = frame.list_begin; k < frame.list_end; ++k) {
    const std::int32_t v = list_[k];
    if (placed(v) || instance_.first_section[index(v)] > section ||
        instance_.end_section[index(v)] <= section) {
      continue;
    }
    if (lowest < 0 || lies_lower(v, lowest)) lowest = v;
  }
  for (;;) {
    const std::int32_t v = lowest;
    for (std::size_t e = conflicts_.row[index(v)]; e < conflicts_.row[index(v) + 1]; ++e) {
      const std::int32_t w = conflicts_.neighbour[e];
      const bool fits_below =
          !placed(w) && bounds_.lowest[index(w)] + size_[index(w)] <= bounds_.lowest[index(v)];
      if (fits_below && (lowest == v || lies_lower(w, lowest))) lowest = w;
    }
    if (lowest == v) return v;
  }
}

template <class Integer, bool kPairwise>
void PlaceOrRaise<Integer, kPairwise>::count_failure(std::int32_t section) {
  failures_[index(section)] += failure_weight_;
  failure_weight_ *= kWeightGrowth;
  if (failure_weight_ < kLargestWeight) return;
  for (double& failures : failures_) failures = std::max(1.0, failures / kLargestWeight);
  failure_weight_ = 1;
}

// The members that the other files call.
template std::int32_t PlaceOrRaise<std::int32_t, false>::buffer_to_decide(const Frame&);
template std::int32_t PlaceOrRaise<std::int64_t, false>::buffer_to_decide(const Frame&);
template std::int32_t PlaceOrRaise<std::int32_t, true>::buffer_to_decide(const Frame&);
template std::int32_t PlaceOrRaise<std::int64_t, true>::buffer_to_decide(const Frame&);
template void PlaceOrRaise<std::int32_t, false>::count_failure(std::int32_t);
template void PlaceOrRaise<std::int64_t, false>::count_failure(std::int32_t);
template void PlaceOrRaise<std::int32_t, true>::count_failure(std::int32_t);
template void PlaceOrRaise<std::int64_t, true>::count_failure(std::int32_t);

}  // namespace planner::offsets
