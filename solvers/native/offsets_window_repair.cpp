#include "offsets_window_repair.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

#include "offsets_conflicts.hpp"
#include "offsets_search.hpp"

namespace planner::offsets {
namespace {

// Free buffers of the first window at a place, and of the last. Wide ones are the easy ones: they
// reach out to where there is room, and what is pinned at their ends matters less.
constexpr std::size_t kNarrowest = 200;
constexpr std::size_t kWidest = 3'200;

// Pinned blocks for each free buffer beyond which the room is too scattered to be worth a search.
constexpr double kBlocks = 1.5;

// Nodes of one run for each free buffer or block. Nearly all windows that can be placed are placed
// almost without turning back.
constexpr double kNodes = 1.25;

// The target comes closer to the height by this factor after each failure, up to this fraction of
// the lower bound.
constexpr std::int64_t kStepFactor = 4;
constexpr std::int64_t kLastStep = 20'000;

constexpr std::array<Configuration, 3> kConfigurations{
    {{Priority::kTotalSpanArea, Choice::kCriticalSection},
     {Priority::kTotalAreaSpan, Choice::kLowest},
     {Priority::kAreaSpanTotal, Choice::kFullestSection}}};

// Bytes [begin, end) in the sections [first_section, end_section).
struct Block {
  std::int32_t first_section, end_section;
  std::int64_t begin, end;
};

// What is free in one window, at each of the times between which nobody free begins or ends.
struct Times {
  std::vector<std::int32_t> section;    // where each begins, and where the last ends
  std::vector<std::int64_t> smallest;   // size alive; 0 if none is
};

std::size_t index(std::int32_t i) { return static_cast<std::size_t>(i); }

class Windows {
 public:
  Windows(const Instance& instance, Packing& packing, const WindowLimits& limits)
      : instance_(instance), packing_(packing), limits_(limits) {}

  enum class Outcome { kPlaced, kFailed, kNotTried };

  // Places the buffer and those around it below the target.
  Outcome lower(std::int32_t buffer, std::int64_t target, WindowRepairs& done, Control& control) {
    target -= target % instance_.granule;
    Outcome outcome = Outcome::kNotTried;
    std::size_t tried = 0;
    for (std::size_t width = kNarrowest; width <= kWidest; width *= 2) {
      free_around(buffer, width);
      if (free_.size() == tried) break;
      tried = free_.size();
      const std::vector<Block> blocks = pinned_blocks(target);
      if (static_cast<double>(blocks.size()) > kBlocks * static_cast<double>(tried)) continue;
      const Instance window = make_instance(requests(blocks));
      const auto pairs = static_cast<std::int64_t>(conflicting_pairs(window));
      if (pairs > limits_.pairs) break;
      if (place(window, pairs, target, done, control)) return Outcome::kPlaced;
      outcome = Outcome::kFailed;
      if (done.work >= limits_.work || control.stop_now()) break;
    }
    return outcome;
  }

 private:
  // Fills free_ with buffers that live within a stretch of sections around the buffer; of those
  // that need the longest stretch some are left out.
  void free_around(std::int32_t buffer, std::size_t count) {
    const std::int32_t first = instance_.first_section[index(buffer)];
    const std::int32_t end = instance_.end_section[index(buffer)];
    by_reach_.clear();
    for (std::size_t v = 0; v < instance_.buffers(); ++v) {
      const std::int32_t reach = std::max(
          {v == index(buffer) ? -1 : 0, first - instance_.first_section[v],
           instance_.end_section[v] - end});
      by_reach_.emplace_back(reach, static_cast<std::int32_t>(v));
    }
    count = std::min(count, by_reach_.size());
    std::nth_element(by_reach_.begin(), by_reach_.begin() + static_cast<std::ptrdiff_t>(count) - 1,
                     by_reach_.end());
    free_.clear();
    for (std::size_t k = 0; k < count; ++k) free_.push_back(by_reach_[k].second);
    std::sort(free_.begin(), free_.end());
  }

  Requests requests(const std::vector<Block>& blocks) const {
    Requests requests;
    auto add = [&requests](std::int32_t first_section, std::int32_t end_section, std::int64_t size,
                           std::int64_t alignment, std::int64_t fixed) {
      requests.lower.push_back(first_section);
      requests.upper.push_back(end_section);
      requests.size.push_back(size);
      requests.alignment.push_back(alignment);
      requests.fixed.push_back(fixed);
    };
    for (std::int32_t v : free_) {
      add(instance_.first_section[index(v)], instance_.end_section[index(v)],
          instance_.padded_size[index(v)], instance_.alignment[index(v)], -1);
    }
    for (const Block& block : blocks) {
      add(block.first_section, block.end_section, block.end - block.begin, instance_.granule,
          block.begin);
    }
    return requests;
  }

  bool place(const Instance& window, std::int64_t pairs, std::int64_t target, WindowRepairs& done,
             Control& control) {
    const std::unique_ptr<PlacementSearch> search = make_placement_search(window);
    if (!search) return false;
    const auto buffers = static_cast<std::int64_t>(window.buffers());
    for (const Configuration& configuration : kConfigurations) {
      const Answer answer =
          search->run(target, configuration,
                      static_cast<std::int64_t>(kNodes * static_cast<double>(buffers)), control);
      ++done.searches;
      done.nodes += search->nodes();
      done.work += (1 + search->nodes()) * (1 + 2 * pairs / buffers);
      if (answer == Answer::kPlaced) {
        for (std::size_t k = 0; k < free_.size(); ++k) {
          packing_.offsets[index(free_[k])] = search->offsets()[k];
        }
        return true;
      }
      if (answer == Answer::kImpossible || done.work >= limits_.work || control.stop_now()) break;
    }
    return false;
  }

  Times times() const {
    Times times;
    for (std::int32_t v : free_) {
      times.section.push_back(instance_.first_section[index(v)]);
      times.section.push_back(instance_.end_section[index(v)]);
    }
    std::sort(times.section.begin(), times.section.end());
    times.section.erase(std::unique(times.section.begin(), times.section.end()),
                        times.section.end());
    times.smallest.assign(times.section.size(), 0);
    for (std::int32_t v : free_) {
      const auto first = std::lower_bound(times.section.begin(), times.section.end(),
                                          instance_.first_section[index(v)]);
      const std::int64_t size = instance_.padded_size[index(v)];
      for (auto t = static_cast<std::size_t>(first - times.section.begin());
           times.section[t] < instance_.end_section[index(v)]; ++t) {
        std::int64_t& smallest = times.smallest[t];
        smallest = smallest == 0 ? size : std::min(smallest, size);
      }
    }
    return times;
  }

  // The others alive at one of the times, as far as they lie below the target; by offset.
  std::vector<Block> pinned(const Times& times, std::int64_t target) const {
    std::vector<Block> pinned;
    std::size_t next_free = 0;
    for (std::size_t v = 0; v < instance_.buffers(); ++v) {
      if (next_free < free_.size() && index(free_[next_free]) == v) {
        ++next_free;
        continue;
      }
      const Block block{instance_.first_section[v], instance_.end_section[v], packing_.offsets[v],
                        std::min(target, packing_.offsets[v] + instance_.padded_size[v])};
      if (block.first_section < times.section.back() &&
          block.end_section > times.section.front() && block.begin < block.end) {
        pinned.push_back(block);
      }
    }
    std::sort(pinned.begin(), pinned.end(), [](const Block& x, const Block& y) {
      return x.begin != y.begin ? x.begin < y.begin : x.first_section < y.first_section;
    });
    return pinned;
  }

  // What the others take from the free buffers, together with the gaps between that none of these
  // fits in. What is the same at consecutive times is one block.
  std::vector<Block> pinned_blocks(std::int64_t target) const {
    const Times times = this->times();
    const std::vector<Block> pinned = this->pinned(times, target);
    std::vector<Block> blocks;
    std::vector<std::size_t> before, now;  // blocks at one time, ascending
    for (std::size_t t = 0; t + 1 < times.section.size(); ++t, before.swap(now)) {
      now.clear();
      if (times.smallest[t] == 0) continue;
      std::size_t k = 0;
      auto add = [&](std::int64_t begin, std::int64_t end) {
        if (begin == end) return;
        while (k < before.size() && blocks[before[k]].begin < begin) ++k;
        if (k < before.size() && blocks[before[k]].begin == begin &&
            blocks[before[k]].end == end) {
          blocks[before[k]].end_section = times.section[t + 1];
          now.push_back(before[k]);
        } else {
          now.push_back(blocks.size());
          blocks.push_back({times.section[t], times.section[t + 1], begin, end});
        }
      };
      std::int64_t begin = 0;
      std::int64_t end = 0;
      for (const Block& block : pinned) {
        if (block.first_section >= times.section[t + 1] ||
            block.end_section <= times.section[t]) {
          continue;
        }
        if (block.begin - end >= times.smallest[t]) {
          add(begin, end);
          begin = block.begin;
        }
        end = std::max(end, block.end);
      }
      add(begin, target - end < times.smallest[t] ? target : end);
    }
    return blocks;
  }

  const Instance& instance_;
  Packing& packing_;
  const WindowLimits limits_;
  std::vector<std::pair<std::int32_t, std::int32_t>> by_reach_;  // sections beyond, buffer
  std::vector<std::int32_t> free_;                               // ascending
};

std::int32_t highest_buffer(const Instance& instance, const Packing& packing) {
  std::size_t highest = 0;
  for (std::size_t v = 0; v < instance.buffers(); ++v) {
    if (packing.offsets[v] + instance.size[v] > packing.offsets[highest] + instance.size[highest]) {
      highest = v;
    }
  }
  return static_cast<std::int32_t>(highest);
}

}  // namespace

// First to the goal at once: there are more places that stick out above it, but tight capacities
// prune best.
WindowRepairs repair_windows(const Instance& instance, Packing& packing, std::int64_t goal,
                             WindowLimits limits, Control& control) {
  using Outcome = Windows::Outcome;
  WindowRepairs done;
  goal = std::max(goal, instance.lower_bound);
  Windows windows(instance, packing, limits);
  const std::int64_t last_step = std::max<std::int64_t>(1, instance.lower_bound / kLastStep);
  std::int64_t target = goal;
  while (packing.height > goal && done.work < limits.work && !control.stop_now()) {
    const std::int64_t step = packing.height - target;
    const Outcome outcome = windows.lower(highest_buffer(instance, packing), target, done, control);
    if (outcome == Outcome::kPlaced) {
      const std::int64_t height = packing_height(instance, packing.offsets);
      done.lower = done.lower || height < packing.height;
      packing.height = height;
      if (height <= target) target = std::max(goal, height - step);
    } else if (outcome == Outcome::kFailed && step > last_step) {
      target = packing.height - std::max(last_step, step / kStepFactor);
    } else {
      break;
    }
  }
  return done;
}

}  // namespace planner::offsets
