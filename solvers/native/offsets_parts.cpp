// Independent parts: what is left when no unplaced buffer crosses some point in time. Each is
// ranked anew and searched by itself.
#include <algorithm>
#include <cstddef>
#include <tuple>

#include "offsets_place_or_raise.hpp"

namespace planner::offsets {

// Lists the parent's unplaced buffers by start, so that each part is a range of the list.
template <class Integer, bool kPairwise>
void PlaceOrRaise<Integer, kPairwise>::push_parts(const Frame& parent, std::int32_t level) {
  Frame frame{};
  frame.splits = true;
  frame.level = level;
  frame.first_section = parent.first_section;
  frame.end_section = parent.end_section;
  frame.list_restore = list_.size();
  frame.list_begin = list_.size();
  for (std::size_t k = parent.list_begin; k < parent.list_end; ++k) {
    if (!placed(list_[k])) list_.push_back(list_[k]);
  }
  frame.list_end = list_.size();
  frame.part_end = frame.list_begin;
  std::sort(list_.begin() + static_cast<std::ptrdiff_t>(frame.list_begin), list_.end(),
            [this](std::int32_t u, std::int32_t v) {
              const std::int32_t first_u = instance_.first_section[index(u)];
              const std::int32_t first_v = instance_.first_section[index(v)];
              return first_u != first_v ? first_u < first_v : u < v;
            });
  frames_.push_back(frame);
}

template <class Integer, bool kPairwise>
bool PlaceOrRaise<Integer, kPairwise>::open_part(Frame& frame) {
  frame.part_begin = frame.part_end;
  if (frame.part_begin == frame.list_end) return false;
  std::size_t k = frame.part_begin;
  const std::int32_t first_section = instance_.first_section[index(list_[k])];
  std::int32_t end_section = first_section;
  for (; k < frame.list_end && (k == frame.part_begin ||
                                instance_.first_section[index(list_[k])] < end_section);
       ++k) {
    end_section = std::max(end_section, instance_.end_section[index(list_[k])]);
    each_unplaced(between_, list_[k], [this, &end_section](const Link& link) {
      end_section = std::max(end_section, instance_.first_section[index(link.partner)] + 1);
    });
  }
  frame.part_end = k;
  frame.saved_ranks = saved_ranks_.size();
  for (k = frame.part_begin; k < frame.part_end; ++k) {
    saved_ranks_.push_back(rank_[index(list_[k])]);
  }
  rank_part(frame.part_begin, frame.part_end);
  push_node(frame.level, first_section, end_section, frame.part_begin, frame.part_end,
            static_cast<std::int32_t>(frame.part_end - frame.part_begin), list_.size());
  return true;
}

template <class Integer, bool kPairwise>
void PlaceOrRaise<Integer, kPairwise>::close_part(const Frame& frame) {
  for (std::size_t k = frame.part_begin; k < frame.part_end; ++k) {
    rank_[index(list_[k])] = saved_ranks_[frame.saved_ranks + (k - frame.part_begin)];
  }
  saved_ranks_.resize(frame.saved_ranks);
}

template <class Integer, bool kPairwise>
auto PlaceOrRaise<Integer, kPairwise>::resume_parts(Signal signal) -> Signal {
  Frame& frame = frames_.back();
  if (signal != Signal::kEnter) close_part(frame);
  if (signal == Signal::kEnter || signal == Signal::kPlaced) {
    if (open_part(frame)) return Signal::kEnter;
    signal = Signal::kPlaced;
  }
  list_.resize(frame.list_restore);
  frames_.pop_back();
  return signal;
}

template <class Integer, bool kPairwise>
void PlaceOrRaise<Integer, kPairwise>::rank_part(std::size_t begin, std::size_t end) {
  struct Keyed {
    double first, second, third;
    std::int32_t buffer;
  };
  std::vector<Keyed> keyed;
  keyed.reserve(end - begin);
  for (std::size_t k = begin; k < end; ++k) {
    const std::int32_t v = list_[k];
    const double span = instance_.span(index(v));
    const auto size = static_cast<double>(size_[index(v)]);
    const double area = span * size;
    const auto total = static_cast<double>(fullest_section(v));
    switch (configuration_.priority) {
      case Priority::kTotalSpanArea:
        keyed.push_back({total, span, area, v});
        break;
      case Priority::kTotalAreaSpan:
        keyed.push_back({total, area, span, v});
        break;
      case Priority::kTotalSizeSpan:
        keyed.push_back({total, size, span, v});
        break;
      case Priority::kSpanAreaTotal:
        keyed.push_back({span, area, total, v});
        break;
      case Priority::kAreaSpanTotal:
        keyed.push_back({area, span, total, v});
        break;
      case Priority::kSizeSpanTotal:
        keyed.push_back({size, span, total, v});
        break;
    }
  }
  std::sort(keyed.begin(), keyed.end(), [](const Keyed& x, const Keyed& y) {
    return std::tie(y.first, y.second, y.third, x.buffer) <
           std::tie(x.first, x.second, x.third, y.buffer);
  });
  for (std::size_t k = 0; k < keyed.size(); ++k) {
    rank_[index(keyed[k].buffer)] = static_cast<std::int32_t>(k);
  }
}

// The members that offsets_place_or_raise.cpp calls.
template auto PlaceOrRaise<std::int32_t, false>::resume_parts(Signal) -> Signal;
template auto PlaceOrRaise<std::int32_t, true>::resume_parts(Signal) -> Signal;
template auto PlaceOrRaise<std::int64_t, false>::resume_parts(Signal) -> Signal;
template auto PlaceOrRaise<std::int64_t, true>::resume_parts(Signal) -> Signal;
template void PlaceOrRaise<std::int32_t, false>::push_parts(const Frame&, std::int32_t);
template void PlaceOrRaise<std::int32_t, true>::push_parts(const Frame&, std::int32_t);
template void PlaceOrRaise<std::int64_t, false>::push_parts(const Frame&, std::int32_t);
template void PlaceOrRaise<std::int64_t, true>::push_parts(const Frame&, std::int32_t);

}  // namespace planner::offsets
