// The walk through the tree of placements. What each of them implies is in offsets_propagation.cpp,
// how the rest falls apart in offsets_parts.cpp.
#include "offsets_place_or_raise.hpp"

#include <algorithm>
#include <limits>
#include <numeric>
#include <utility>

namespace planner::offsets {
namespace {

// Bytes of recorded changes after which a run gives up.
constexpr std::size_t kChangesLimit = std::size_t{1} << 27;

// A child works on its parent's list, skipping what is placed, until this fraction of it is placed.
// So all lists of a branch together stay linear in the number of buffers.
constexpr std::int32_t kPlacedFraction = 8;

}  // namespace

template <class Integer, bool kPairwise>
PlaceOrRaise<Integer, kPairwise>::PlaceOrRaise(const Instance& instance, const Units& units,
                                               ConflictGraph conflicts)
    : instance_(instance),
      conflicts_(std::move(conflicts)),
      unit_(units.unit),
      buffers_(instance.buffers()),
      sections_(static_cast<std::size_t>(instance.sections)),
      words_((buffers_ + 63) / 64),
      largest_(units.largest_sum),
      start_(buffers_, 0),
      pinned_(buffers_, 0) {
  for (std::size_t v = 0; v < buffers_; ++v) {
    size_.push_back(static_cast<Integer>(units.size[v]));
    alignment_.push_back(static_cast<Integer>(units.alignment[v]));
    if (instance.pinned(v)) {
      start_[v] = static_cast<Integer>(instance.fixed[v] / unit_);
      pinned_[v] = 1;
    }
  }
  if constexpr (kPairwise) {
    keep_pairwise_model();
  } else {
    reach_first_ = instance.first_section;
    reach_end_ = instance.end_section;
    for (std::int64_t bytes : instance.section_bytes) {
      section_total_.push_back(static_cast<Integer>(bytes / unit_));
    }
  }
  solution_.resize(buffers_);
  conflict_.resize(words_);
  refutation_.resize(words_);
  floor_.resize(sections_);
  candidates_.resize(sections_);
  failures_.assign(sections_, 1.0);
}

template <class Integer, bool kPairwise>
void PlaceOrRaise<Integer, kPairwise>::reset(std::int64_t capacity) {
  const std::int64_t largest = largest_ / one_unit();
  capacity_ = static_cast<Integer>(std::min(capacity / unit_, largest) * one_unit());
  highest_offset_.resize(buffers_);
  overhanging_.clear();
  may_overhang_.assign(buffers_, 0);
  overhangs_.assign(sections_, 0);
  for (std::size_t v = 0; v < buffers_; ++v) {
    const std::int64_t room = capacity - instance_.size[v];
    highest_offset_[v] =
        static_cast<Integer>(room >= 0 ? std::min(room / unit_, largest) * one_unit() : -1);
    Integer anchor = 0;
    if constexpr (kPairwise) anchor = anchor_[v];
    const Integer fixed = start_[v] - anchor;
    if (pinned_[v]) highest_offset_[v] = fixed <= highest_offset_[v] ? fixed : -1;
    const Integer highest_top = highest_offset_[v] + size_[v];
    if (highest_offset_[v] >= 0) highest_offset_[v] += anchor;
    // Without its padding the topmost buffer may fit where its padded size does not.
    if (highest_top <= capacity_ || capacity_ == largest * one_unit()) continue;
    may_overhang_[v] = 1;
    const auto buffer = static_cast<std::int32_t>(v);
    overhanging_.push_back(buffer);
    each_section(buffer, [this](std::size_t s, Integer, Integer) { ++overhangs_[s]; });
  }

  frames_.clear();
  list_.resize(buffers_);
  std::iota(list_.begin(), list_.end(), 0);
  saved_ranks_.clear();
  offset_.assign(buffers_, -1);
  level_.assign(buffers_, 0);
  rank_.assign(buffers_, 0);
  total_ = section_total_;
  crossings_.assign(sections_, 0);
  for (std::size_t v = 0; v < buffers_; ++v) {
    for (std::int32_t s = instance_.first_section[v]; s + 1 < instance_.end_section[v]; ++s) {
      ++crossings_[index(s)];
    }
    each_unplaced(between_, static_cast<std::int32_t>(v), [&](const Link& link) {
      if (index(link.partner) < v) return;
      for (std::int32_t s = link.first; s < link.end; ++s) ++crossings_[index(s)];
    });
  }
  bounds_.reset(start_, words_);
  width_ = 1;
  nodes_ = 0;
}

template <class Integer, bool kPairwise>
Answer PlaceOrRaise<Integer, kPairwise>::run(std::int64_t capacity, Configuration configuration,
                                  std::int64_t node_limit, Control& control) {
  configuration_ = configuration;
  node_limit_ = node_limit;
  control_ = &control;
  reset(capacity);
  for (std::size_t v = 0; v < buffers_; ++v) {
    if (highest_offset_[v] < 0) return Answer::kImpossible;
  }
  for (std::size_t s = 0; s < sections_; ++s) {
    if (total_[s] > capacity_ + (overhangs_[s] > 0 ? one_unit() : 0)) return Answer::kImpossible;
  }

  Frame root{};
  root.end_section = instance_.sections;
  root.list_end = buffers_;
  root.list_restore = 0;
  push_parts(root, 0);
  Signal signal = Signal::kEnter;
  while (!frames_.empty()) {
    signal = frames_.back().splits ? resume_parts(signal) : resume_node(signal);
  }
  switch (signal) {
    case Signal::kPlaced:
      return Answer::kPlaced;
    case Signal::kImpossible:
      return Answer::kImpossible;
    default:
      return Answer::kStopped;
  }
}

// Each resume function takes what the frame above it came to (kEnter if there was none yet), and
// returns kEnter after pushing another, or its own result after popping itself.

template <class Integer, bool kPairwise>
void PlaceOrRaise<Integer, kPairwise>::push_node(std::int32_t level, std::int32_t first_section,
                                      std::int32_t end_section, std::size_t list_begin,
                                      std::size_t list_end, std::int32_t unplaced,
                                      std::size_t list_restore) {
  Frame frame{};
  frame.splits = false;
  frame.level = level;
  frame.first_section = first_section;
  frame.end_section = end_section;
  frame.list_begin = list_begin;
  frame.list_end = list_end;
  frame.list_restore = list_restore;
  frame.unplaced = unplaced;
  frame.changes_at_entry = bounds_.changes();
  frames_.push_back(frame);
}

template <class Integer, bool kPairwise>
auto PlaceOrRaise<Integer, kPairwise>::resume_node(Signal signal) -> Signal {
  if (signal == Signal::kEnter) {
    if (frames_.back().unplaced == 0) return leave_node(Signal::kPlaced);
    if (++nodes_ > node_limit_) return leave_node(Signal::kStopped);
  } else {
    Frame& frame = frames_.back();
    unplace(frame);
    if (signal != Signal::kImpossible || !refute(frame)) return leave_node(signal);
  }
  // Place a buffer; as long as that fails at once, raise it and take the next.
  for (;;) {
    // Each turn begins with this, because a stop leaves conclusions undrawn: see settle_floating.
    if (control_->stop() || bounds_.bytes() > kChangesLimit) return leave_node(Signal::kStopped);
    Frame& frame = frames_.back();
    if (place(frame)) return descend();
    unplace(frame);
    if (!refute(frame)) return leave_node(Signal::kImpossible);
  }
}

template <class Integer, bool kPairwise>
auto PlaceOrRaise<Integer, kPairwise>::leave_node(Signal signal) -> Signal {
  const Frame& frame = frames_.back();
  bounds_.undo(frame.changes_at_entry);
  list_.resize(frame.list_restore);
  frames_.pop_back();
  return signal;
}

template <class Integer, bool kPairwise>
auto PlaceOrRaise<Integer, kPairwise>::descend() -> Signal {
  Frame& frame = frames_.back();
  const std::int32_t level = frame.level + 1;
  if (remove_crossings(frame)) {
    const Frame parent = frame;
    push_parts(parent, level);
    return Signal::kEnter;
  }
  const std::int32_t unplaced = frame.unplaced - 1;
  const std::size_t restore = list_.size();
  std::size_t begin = frame.list_begin;
  std::size_t end = frame.list_end;
  const auto listed = static_cast<std::int32_t>(end - begin);
  if (listed - unplaced >= listed / kPlacedFraction) {
    for (std::size_t k = begin; k < end; ++k) {
      if (!placed(list_[k])) list_.push_back(list_[k]);
    }
    begin = restore;
    end = list_.size();
  }
  push_node(level, frame.first_section, frame.end_section, begin, end, unplaced, restore);
  return Signal::kEnter;
}

// Places a buffer at its bound; false if that fails at once, explained by conflict_.
template <class Integer, bool kPairwise>
bool PlaceOrRaise<Integer, kPairwise>::place(Frame& frame) {
  const std::int32_t v = buffer_to_decide(frame);
  const Integer offset = bounds_.lowest[index(v)];
  const Integer top = offset + size_[index(v)];  // as far as all neighbours have it in common
  frame.buffer = v;
  frame.changes_at_placement = bounds_.changes();
  frame.crossings_removed = false;
  width_ = index(frame.level) / 64 + 1;
  offset_[index(v)] = offset;
  solution_[index(v)] = static_cast<std::int64_t>(offset) * unit_;
  if constexpr (kPairwise) {
    solution_[index(v)] =
        static_cast<std::int64_t>((offset - anchor_[index(v)]) / steps_) * unit_;
  }
  level_[index(v)] = frame.level;
  touched_first_ = reach_first_[index(v)];
  touched_end_ = reach_end_[index(v)];
  for (std::size_t e = conflicts_.row[index(v)]; e < conflicts_.row[index(v) + 1]; ++e) {
    const std::int32_t w = conflicts_.neighbour[e];
    if (placed(w)) continue;
    const Integer rest = aligned(w, kPairwise ? offset + up_to(index(v), e) : top);
    const Integer lowest = bounds_.lowest[index(w)];
    if (lowest > rest || (lowest == rest && !bounds_.floating[index(w)])) continue;
    bounds_.save(w, width_);
    if (lowest < rest) {
      // w is above v because it does not fit below: its bound leaves no room there.
      const Reason no_room = why(w, offset + 1 - up_from(e));
      Word* reason = bounds_.reason_of(w);
      if (no_room.width == 0) {
        std::fill(reason, reason + width_, 0);
      } else if (no_room.words != reason) {
        std::copy(no_room.words, no_room.words + no_room.width, reason);
        std::fill(reason + no_room.width, reason + width_, 0);
      }
      blame(reason, v);
    }
    bounds_.lowest[index(w)] = rest;
    bounds_.floating[index(w)] = 0;
    touch(w);
  }
  each_section(v, [&, overhangs = may_overhang_[index(v)]](std::size_t s, Integer bytes, Integer) {
    total_[s] -= bytes;
    overhangs_[s] -= overhangs;
  });
  each_unplaced(shared_, v, [this](const Link& link) {
    for (std::int32_t s = link.first; s < link.end; ++s) total_[index(s)] += link.bytes;
  });
  return propagate(frame);
}

template <class Integer, bool kPairwise>
void PlaceOrRaise<Integer, kPairwise>::unplace(Frame& frame) {
  const std::int32_t buffer = frame.buffer;
  const std::size_t v = index(buffer);
  width_ = index(frame.level) / 64 + 1;
  each_unplaced(shared_, buffer, [this](const Link& link) {
    for (std::int32_t s = link.first; s < link.end; ++s) total_[index(s)] -= link.bytes;
  });
  each_section(buffer, [&, overhangs = may_overhang_[v]](std::size_t s, Integer bytes, Integer) {
    total_[s] += bytes;
    overhangs_[s] += overhangs;
  });
  if (frame.crossings_removed) {
    for (std::int32_t s = instance_.first_section[v]; s + 1 < instance_.end_section[v]; ++s) {
      ++crossings_[index(s)];
    }
    each_unplaced(between_, buffer, [this](const Link& link) {
      for (std::int32_t s = link.first; s < link.end; ++s) ++crossings_[index(s)];
    });
  }
  bounds_.undo(frame.changes_at_placement);
  offset_[v] = -1;
}

// True if an independent part comes off.
template <class Integer, bool kPairwise>
bool PlaceOrRaise<Integer, kPairwise>::remove_crossings(Frame& frame) {
  const std::size_t v = index(frame.buffer);
  bool apart = false;
  for (std::int32_t s = instance_.first_section[v]; s + 1 < instance_.end_section[v]; ++s) {
    if (--crossings_[index(s)] == 0) apart = true;
  }
  each_unplaced(between_, frame.buffer, [&](const Link& link) {
    for (std::int32_t s = link.first; s < link.end; ++s) {
      if (--crossings_[index(s)] == 0) apart = true;
    }
  });
  frame.crossings_removed = true;
  return apart;
}

// After placing the frame's buffer turned out impossible because of conflict_: the other branch.
// False if the whole node is impossible, then conflict_ says why.
template <class Integer, bool kPairwise>
bool PlaceOrRaise<Integer, kPairwise>::refute(Frame& frame) {
  Word& word = conflict_[width_ - 1];
  const Word bit = Word{1} << (frame.level % 64);
  if ((word & bit) == 0) return false;  // the placement is not to blame, nor is raising a way out
  word &= ~bit;
  refutation_ = conflict_;
  touched_first_ = instance_.sections;
  touched_end_ = 0;
  raise(frame.buffer, refutation_.data());
  return propagate(frame);
}

template <class Integer, bool kPairwise>
std::int32_t PlaceOrRaise<Integer, kPairwise>::lowest_buffer(const Frame& frame) const {
  std::int32_t best = -1;
  Integer best_bound = std::numeric_limits<Integer>::max();
  Integer best_total = 0;
  for (std::size_t k = frame.list_begin; k < frame.list_end; ++k) {
    const std::int32_t v = list_[k];
    if (placed(v) || bounds_.floating[index(v)] || bounds_.lowest[index(v)] > best_bound) continue;
    const Integer total = configuration_.choice == Choice::kFullestSection ? fullest_section(v) : 0;
    if (bounds_.lowest[index(v)] < best_bound || total > best_total ||
        (total == best_total && rank_[index(v)] < rank_[index(best)])) {
      best = v;
      best_bound = bounds_.lowest[index(v)];
      best_total = total;
    }
  }
  return best;
}

template <class Integer, bool kPairwise>
Integer PlaceOrRaise<Integer, kPairwise>::fullest_section(std::int32_t buffer) const {
  return *std::max_element(total_.begin() + instance_.first_section[index(buffer)],
                           total_.begin() + instance_.end_section[index(buffer)]);
}

template class PlaceOrRaise<std::int32_t, false>;
template class PlaceOrRaise<std::int32_t, true>;
template class PlaceOrRaise<std::int64_t, false>;
template class PlaceOrRaise<std::int64_t, true>;

}  // namespace planner::offsets
