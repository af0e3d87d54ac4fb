// What follows from a placement or a refutation: bounds rise, sections overflow.
#include <algorithm>
#include <cstddef>
#include <iterator>
#include <limits>

#include "offsets_place_or_raise.hpp"

namespace planner::offsets {
namespace {

// Rounds of raising floating buffers one by one before they are raised in groups.
constexpr int kSettlingRounds = 16;

}  // namespace

// The buffer may not stay at its bound: its next support is the top of an unplaced neighbour. With
// a refutation it is raised at any rate, else only if the supports have risen. True if it moved.
template <class Integer, bool kPairwise>
bool PlaceOrRaise<Integer, kPairwise>::raise(std::int32_t buffer, const Word* refutation) {
  const std::size_t v = index(buffer);
  Integer raised = highest_offset_[v] + 1;  // above that, all is lost alike
  for (std::size_t e = conflicts_.row[v]; e < conflicts_.row[v + 1]; ++e) {
    const std::int32_t w = conflicts_.neighbour[e];
    if (placed(w)) continue;
    raised = std::min(raised, aligned(buffer, bounds_.lowest[index(w)] + up_from(e)));
  }
  if (raised <= bounds_.lowest[v] && refutation == nullptr) return false;
  bounds_.save(buffer, width_);
  Word* reason = bounds_.reason_of(buffer);
  if (refutation != nullptr) Bounds::add(reason, {refutation, width_});
  // A top from here on cannot be too low to count.
  const Integer sufficient = aligned(buffer, raised) - alignment_[v] + 1;
  for (std::size_t e = conflicts_.row[v]; e < conflicts_.row[v + 1]; ++e) {
    const std::int32_t w = conflicts_.neighbour[e];
    const Integer distance = up_from(e);
    if (distance >= sufficient) continue;
    if (placed(w)) {
      blame(reason, w);
    } else {
      Bounds::add(reason, why(w, sufficient - distance));
    }
  }
  bounds_.lowest[v] = raised;
  bounds_.floating[v] = 1;
  touch(buffer);
  return true;
}

// Draws all conclusions in the touched sections; false if something does not fit.
template <class Integer, bool kPairwise>
bool PlaceOrRaise<Integer, kPairwise>::propagate(const Frame& frame) {
  return settle_floating(frame) && sections_hold(frame);
}

// Raises floating buffers to a fixpoint. There the lowest buffer never floats, because every
// floating one is above another. When the control says stop, it ends before, with bounds that hold
// but are not the best: no buffer may be placed then.
template <class Integer, bool kPairwise>
bool PlaceOrRaise<Integer, kPairwise>::settle_floating(const Frame& frame) {
  floating_list_.clear();
  for (std::size_t k = frame.list_begin; k < frame.list_end; ++k) {
    const std::int32_t v = list_[k];
    if (!placed(v) && bounds_.floating[index(v)]) floating_list_.push_back(v);
  }
  int rounds = 0;
  for (bool again = true; again;) {
    if (++rounds > kSettlingRounds) return settle_jointly();
    again = false;
    for (std::int32_t v : floating_list_) {
      if (control_->stop()) return true;
      if (instance_.first_section[index(v)] >= touched_end_ ||
          instance_.end_section[index(v)] <= touched_first_ || !raise(v, nullptr)) {
        continue;
      }
      again = true;
      if (bounds_.lowest[index(v)] > highest_offset_[index(v)]) {
        set_conflict({bounds_.reason_of(v), width_});
        return false;
      }
    }
  }
  return true;
}

// Buffers that support each other in a circle would rise by their own sizes, round after round. So
// compute the fixpoint as shortest paths from the buffers that do not float, and raise in groups:
// the lowest buffer of a group rests on none of the group, so all are above what others support.
template <class Integer, bool kPairwise>
bool PlaceOrRaise<Integer, kPairwise>::settle_jointly() {
  settled_ = bounds_.lowest;
  for (std::int32_t v : floating_list_) settled_[index(v)] = highest_offset_[index(v)] + 1;
  for (bool again = true; again;) {
    again = false;
    for (std::int32_t v : floating_list_) {
      if (control_->stop()) return true;
      Integer lowest = settled_[index(v)];
      for (std::size_t e = conflicts_.row[index(v)]; e < conflicts_.row[index(v) + 1]; ++e) {
        const std::int32_t w = conflicts_.neighbour[e];
        if (placed(w)) continue;
        lowest = std::min(lowest, aligned(v, settled_[index(w)] + up_from(e)));
      }
      lowest = std::max(lowest, bounds_.lowest[index(v)]);
      again = again || lowest < settled_[index(v)];
      settled_[index(v)] = lowest;
    }
  }
  for (;;) {
    if (control_->stop_now()) return true;
    Integer raised = std::numeric_limits<Integer>::max();
    for (std::int32_t v : floating_list_) {
      if (settled_[index(v)] > bounds_.lowest[index(v)]) {
        raised = std::min(raised, settled_[index(v)]);
      }
    }
    if (raised == std::numeric_limits<Integer>::max()) return true;
    auto in_group = [this, raised](std::int32_t v) {
      return !placed(v) && bounds_.floating[index(v)] && bounds_.lowest[index(v)] < raised &&
             settled_[index(v)] >= raised;
    };
    std::fill(refutation_.begin(), refutation_.end(), 0);
    for (std::int32_t v : floating_list_) {
      if (in_group(v)) explain_group_member(v, raised, in_group);
    }
    group_.clear();
    std::copy_if(floating_list_.begin(), floating_list_.end(), std::back_inserter(group_),
                 in_group);
    for (std::int32_t v : group_) {
      bounds_.save(v, width_);
      std::copy(refutation_.begin(), refutation_.begin() + static_cast<std::ptrdiff_t>(width_),
                bounds_.reason_of(v));
      bounds_.lowest[index(v)] = raised;
      touch(v);
      if (raised > highest_offset_[index(v)]) {
        set_conflict({bounds_.reason_of(v), width_});
        return false;
      }
    }
  }
}

// Adds to refutation_ why the buffer can rest neither at its start, nor on what is placed, nor
// below `raised` on a buffer outside its group.
template <class Integer, bool kPairwise>
template <class InGroup>
void PlaceOrRaise<Integer, kPairwise>::explain_group_member(std::int32_t buffer, Integer raised,
                                                 InGroup in_group) {
  const std::size_t v = index(buffer);
  const Integer sufficient = aligned(buffer, raised) - alignment_[v] + 1;
  Integer highest_top = start_[v];
  for (std::size_t e = conflicts_.row[v]; e < conflicts_.row[v + 1]; ++e) {
    const std::int32_t w = conflicts_.neighbour[e];
    if (placed(w)) {
      highest_top = std::max(highest_top, aligned(buffer, offset_[index(w)] + up_from(e)));
      blame(refutation_.data(), w);
    } else if (up_from(e) < sufficient && !in_group(w)) {
      Bounds::add(refutation_.data(), why(w, sufficient - up_from(e)));
    }
  }
  Bounds::add(refutation_.data(), why(buffer, highest_top + 1));
}

// In each touched section the unplaced buffers have to fit between the lowest of their bounds and
// the capacity.
template <class Integer, bool kPairwise>
bool PlaceOrRaise<Integer, kPairwise>::sections_hold(const Frame& frame) {
  const std::int32_t first = std::max(touched_first_, frame.first_section);
  const std::int32_t end = std::min(touched_end_, frame.end_section);
  std::fill(floor_.begin() + first, floor_.begin() + std::max(first, end),
            std::numeric_limits<Integer>::max());
  for (std::size_t k = frame.list_begin; k < frame.list_end; ++k) {
    const std::int32_t v = list_[k];
    if (placed(v)) continue;
    if (bounds_.lowest[index(v)] > highest_offset_[index(v)]) {
      set_conflict(why(v, highest_offset_[index(v)] + 1));
      return false;
    }
    Integer offset = bounds_.lowest[index(v)];
    if constexpr (kPairwise) offset -= anchor_[index(v)];
    each_section(v, first, end, [this, offset](std::size_t s, Integer, Integer lowest) {
      floor_[s] = std::min<Integer>(floor_[s], offset + lowest);
    });
  }
  for (std::int32_t s = first; s < end; ++s) {
    if (total_[index(s)] <= 0) continue;
    const Integer highest_floor =
        capacity_ + (overhangs_[index(s)] > 0 ? one_unit() : 0) - total_[index(s)];
    if (floor_[index(s)] <= highest_floor) continue;
    count_failure(s);
    set_conflict({nullptr, 0});
    for (std::int32_t v : overhanging_) {
      if (placed(v) && instance_.first_section[index(v)] <= s &&
          s < instance_.end_section[index(v)] && overhangs_[index(s)] == 0) {
        blame(conflict_.data(), v);
      }
    }
    for (std::size_t k = frame.list_begin; k < frame.list_end; ++k) {
      const std::int32_t v = list_[k];
      if (placed(v)) continue;
      Integer sufficient = highest_floor + 1;
      if constexpr (kPairwise) sufficient += anchor_[index(v)];
      each_section(v, s, s + 1, [this, v, sufficient](std::size_t, Integer, Integer lowest) {
        Bounds::add(conflict_.data(), why(v, sufficient - lowest));
      });
    }
    return false;
  }
  return true;
}

template <class Integer, bool kPairwise>
void PlaceOrRaise<Integer, kPairwise>::touch(std::int32_t buffer) {
  touched_first_ = std::min(touched_first_, reach_first_[index(buffer)]);
  touched_end_ = std::max(touched_end_, reach_end_[index(buffer)]);
}

template <class Integer, bool kPairwise>
void PlaceOrRaise<Integer, kPairwise>::set_conflict(Reason reason) {
  std::fill(conflict_.begin(), conflict_.end(), 0);
  Bounds::add(conflict_.data(), reason);
}

// The members that offsets_place_or_raise.cpp calls.
template bool PlaceOrRaise<std::int32_t, false>::propagate(const Frame&);
template bool PlaceOrRaise<std::int32_t, true>::propagate(const Frame&);
template bool PlaceOrRaise<std::int64_t, false>::propagate(const Frame&);
template bool PlaceOrRaise<std::int64_t, true>::propagate(const Frame&);
template bool PlaceOrRaise<std::int32_t, false>::raise(std::int32_t, const Word*);
template bool PlaceOrRaise<std::int32_t, true>::raise(std::int32_t, const Word*);
template bool PlaceOrRaise<std::int64_t, false>::raise(std::int32_t, const Word*);
template bool PlaceOrRaise<std::int64_t, true>::raise(std::int32_t, const Word*);
template void PlaceOrRaise<std::int32_t, false>::touch(std::int32_t);
template void PlaceOrRaise<std::int32_t, true>::touch(std::int32_t);
template void PlaceOrRaise<std::int64_t, false>::touch(std::int32_t);
template void PlaceOrRaise<std::int64_t, true>::touch(std::int32_t);

}  // namespace planner::offsets
