#include "offsets_schedule.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <limits>
#include <utility>

#include "offsets_repair.hpp"
#include "offsets_window_repair.hpp"

namespace planner::offsets {
namespace {

struct Named {
  Configuration configuration;
  const char* name;
};

constexpr std::array<Named, 14> kConfigurations{{
    {{Priority::kTotalSpanArea, Choice::kCriticalSection},
     "search by critical section, then total, span, area"},
    {{Priority::kTotalAreaSpan, Choice::kLowest}, "search by total, area, span"},
    {{Priority::kSpanAreaTotal, Choice::kCriticalSection},
     "search by critical section, then span, area, total"},
    {{Priority::kTotalSpanArea, Choice::kLowest}, "search by total, span, area"},
    {{Priority::kTotalAreaSpan, Choice::kCriticalSection},
     "search by critical section, then total, area, span"},
    {{Priority::kSizeSpanTotal, Choice::kCriticalSection},
     "search by critical section, then size, span, total"},
    {{Priority::kSpanAreaTotal, Choice::kLowest}, "search by span, area, total"},
    {{Priority::kTotalSizeSpan, Choice::kCriticalSection},
     "search by critical section, then total, size, span"},
    {{Priority::kTotalSpanArea, Choice::kFullestSection},
     "search by fullest section, then total, span, area"},
    {{Priority::kAreaSpanTotal, Choice::kCriticalSection},
     "search by critical section, then area, span, total"},
    {{Priority::kAreaSpanTotal, Choice::kFullestSection},
     "search by fullest section, then area, span, total"},
    {{Priority::kAreaSpanTotal, Choice::kLowest}, "search by area, span, total"},
    {{Priority::kTotalSizeSpan, Choice::kFullestSection},
     "search by fullest section, then total, size, span"},
    {{Priority::kSizeSpanTotal, Choice::kLowest}, "search by size, span, total"},
}};
constexpr int kAll = static_cast<int>(kConfigurations.size());

// The first ones complement each other: no one of them solves all of MiniMalloc's instances in both
// directions of time. Fitting begins with them alone, for so many rounds.
constexpr int kLeading = 6;
constexpr int kLeadingRounds = 4;

// Instances from this size on are searched and repaired in turn. Of 60,000 buffers the first repair
// takes about half a CPU second, the last of those in vain minutes.
constexpr std::size_t kRepairedBuffers = 2'000;
constexpr int kVainRepairs = 10;
constexpr std::uint64_t kRepairWork = 300;  // for each buffer
constexpr std::size_t kAdrift = 300;
constexpr std::array<double, 3> kEscalations{1.5, 1.2, 2.0};

// From so many buffers on windows are searched when that leads to nothing; smaller instances are
// better searched as a whole. The first turn takes about a tenth of a CPU second if it succeeds,
// and half a second if it does not.
constexpr std::size_t kWindowedBuffers = 5'000;
constexpr int kVainWindows = 8;
constexpr WindowLimits kFirstWindows{100'000, 100'000};

// Runs in vain at choices of overwrites, most of them random, after which there is little hope.
constexpr int kVainChoices = 400;

// Complement each other where sections have room to spare.
constexpr std::array<int, 8> kLowering{3, 1, 6, 8, 10, 11, 12, 13};

// Beyond so many the critical section costs too much at each node.
constexpr std::size_t kManyBuffers = 2000;

// So much of minimising is spent at the bound.
constexpr double kBoundShare = 0.6;

// And of all nodes one in so many in windows.
constexpr std::int64_t kWindowShare = 10;

// range * (i-th element of the van der Corput sequence 0, 1/2, 1/4, 3/4, 1/8, ...), rounded down.
std::int64_t van_der_corput_share(std::int64_t range, int i) {
  std::int64_t numerator = 0;
  std::int64_t denominator = 1;
  for (; i > 0; i /= 2) {
    numerator = 2 * numerator + i % 2;
    denominator *= 2;
  }
  return range / denominator * numerator + range % denominator * numerator / denominator;
}

}  // namespace

ScheduledSearch::ScheduledSearch(const Instance& instance, GreedyResult start)
    : instance_(instance),
      packing_(std::move(start.packing)),
      lower_bound_(instance.lower_bound),
      order_(std::move(start.order)),
      unit_(offset_unit(instance)) {}

void ScheduledSearch::adopt(Packing packing, const char* order) {
  if (packing.height >= packing_.height) return;
  packing_ = std::move(packing);
  order_ = order;
}

// Heights of canonical placements are a multiple of the unit plus the size of a buffer.
std::int64_t ScheduledSearch::highest_height_up_to(std::int64_t capacity) const {
  std::int64_t highest = 0;
  for (std::int64_t size : instance_.size) {
    if (size <= capacity) highest = std::max(highest, capacity - (capacity - size) % unit_);
  }
  return highest;
}

std::int64_t ScheduledSearch::lowest_height_above(std::int64_t capacity) const {
  std::int64_t lowest = std::numeric_limits<std::int64_t>::max();
  for (std::int64_t size : instance_.size) {
    const std::int64_t height =
        size > capacity ? size : capacity - (capacity - size) % unit_ + unit_;
    lowest = std::min(lowest, height);
  }
  return lowest;
}

ScheduledSearch::Try ScheduledSearch::next_fitting(std::int64_t capacity) {
  const auto n = static_cast<std::int64_t>(instance_.buffers());
  int round = fitting_tries_ / kLeading;
  int configuration = fitting_tries_ % kLeading;
  if (instance_.buffers() > kManyBuffers) {
    round = fitting_tries_ / static_cast<int>(kLowering.size());
    configuration = kLowering[static_cast<std::size_t>(fitting_tries_) % kLowering.size()];
  } else if (round >= kLeadingRounds) {
    const int later = fitting_tries_ - kLeading * kLeadingRounds;
    round = kLeadingRounds + later / kAll;
    configuration = later % kAll;
  }
  ++fitting_tries_;
  return {capacity, configuration, 2 * n << std::min(round, 40)};
}

// The bound first and again and again: tight capacities prune best, and the optimum often meets
// the bound. Between that, capacities spread over the open range, with slowly growing limits,
// because which capacity is tried matters more than the time spent on one. Now and then a long run
// just below the height, so that the proofs of small instances are not starved.
ScheduledSearch::Try ScheduledSearch::next_lowering(std::int64_t floor) {
  const auto n = static_cast<std::int64_t>(instance_.buffers());
  const std::int64_t lowest = std::max(floor, search_bound());
  const std::int64_t highest = std::max(lowest, highest_height_up_to(packing_.height - 1));
  if (nodes_ > 2 * nodes_at_last_proof_ + 1024 * n) {
    nodes_at_last_proof_ = nodes_;
    return {highest, proof_tries_++ % kAll, nodes_ / 4};
  }
  if (fitting_tries_ < kLeading ||
      static_cast<double>(fitting_nodes_) < kBoundShare * static_cast<double>(nodes_)) {
    return next_fitting(lowest);
  }
  constexpr int kConfigurationsEach = static_cast<int>(kLowering.size());
  const int round = 1 + lowering_tries_ / kConfigurationsEach;
  const int configuration =
      kLowering[static_cast<std::size_t>(lowering_tries_ % kConfigurationsEach)];
  ++lowering_tries_;
  const std::int64_t spread = lowest + van_der_corput_share(highest - lowest, round);
  return {std::max(lowest, highest_height_up_to(spread)), configuration, n * (2 + round)};
}

bool ScheduledSearch::try_lower(std::int64_t floor, Control& control) {
  if (!minimising_) {
    minimising_ = true;
    // Nothing is proven by that except what canonical placements can reach.
    lower_bound_ = std::max(lower_bound_, lowest_height_above(lower_bound_ - 1));
    if (packing_.height <= std::max(floor, lower_bound_)) return true;
  }
  if (refute_window(std::max(floor, lower_bound_), control)) return true;
  const int fitting_tries = fitting_tries_;
  const std::int64_t nodes = nodes_;
  const bool possible = run(next_lowering(floor), control);
  if (fitting_tries_ > fitting_tries) fitting_nodes_ += nodes_ - nodes;
  return possible;
}

// True if the turn went to a window. The search of the whole comes first, and more often.
bool ScheduledSearch::refute_window(std::int64_t capacity, Control& control) {
  if (too_large_ || fitting_tries_ < kLeading) return false;
  if (!windows_) windows_ = std::make_unique<WindowBounds>(instance_);
  if (!windows_->open() || windows_->nodes() * kWindowShare > nodes_) return false;
  const std::int64_t nodes = windows_->nodes();
  if (windows_->refute(capacity, control)) {
    lower_bound_ = std::max(lower_bound_, lowest_height_above(capacity));
  }
  nodes_ += windows_->nodes() - nodes;
  ++searches_;
  return true;
}

bool ScheduledSearch::try_fit(std::int64_t capacity, Control& control) {
  if (refute_window(capacity, control)) return true;
  return run(next_fitting(capacity), control);
}

bool ScheduledSearch::run(const Try& next, Control& control) {
  if (!search_ && !too_large_) {
    search_ = make_placement_search(instance_);
    too_large_ = search_ == nullptr;
  }
  if (too_large_ || (instance_.buffers() >= kRepairedBuffers && repairs_ < searches_)) {
    return repair_further(next.capacity, control) || !too_large_;
  }
  const Named& named = kConfigurations[static_cast<std::size_t>(next.configuration)];
  const Answer answer =
      search_->run(next.capacity, named.configuration, next.node_limit, control);
  nodes_ += search_->nodes();
  ++searches_;
  if (answer == Answer::kPlaced) {
    packing_ = {search_->offsets(), packing_height(instance_, search_->offsets())};
    order_ = named.name;
  } else if (answer == Answer::kImpossible) {
    exhausted_below_ = std::max(exhausted_below_, lowest_height_above(next.capacity));
    if (search_->complete()) lower_bound_ = std::max(lower_bound_, exhausted_below_);
  }
  if (!instance_.only_overwrites || search_->complete()) return true;
  vain_choices_ = answer == Answer::kPlaced ? 0 : vain_choices_ + 1;
  return vain_choices_ < kVainChoices;
}

// By chains, and after each turn of them in vain by windows; each longer than all such repairs
// before that led to nothing. False if both have become hopeless.
bool ScheduledSearch::repair_further(std::int64_t goal, Control& control) {
  ++repairs_;
  const bool chains = chain_repairs_.vain < kVainRepairs;
  const bool windows =
      instance_.buffers() >= kWindowedBuffers && window_repairs_.vain < kVainWindows;
  if (instance_.constrained() || (!chains && !windows)) return false;
  if (windows && (!chains || window_repairs_.turns < chain_repairs_.vain)) {
    repair_by_windows(goal, control);
  } else {
    repair_by_chains(goal, control);
  }
  return true;
}

// None like the one before.
void ScheduledSearch::repair_by_chains(std::int64_t goal, Control& control) {
  auto& [turns, vain] = chain_repairs_;
  ++turns;
  const std::uint64_t work = kRepairWork * instance_.buffers() << vain;
  const RepairLimits limits{work, work / 4, kAdrift * static_cast<std::size_t>(1 + vain),
                            kEscalations[static_cast<std::size_t>(turns) % kEscalations.size()]};
  Packing lower = packing_;
  if (repair(instance_, lower, goal, limits, control)) {
    adopt(std::move(lower), "repair");
  } else {
    ++vain;
  }
}

void ScheduledSearch::repair_by_windows(std::int64_t goal, Control& control) {
  auto& [turns, vain] = window_repairs_;
  ++turns;
  const WindowLimits limits{kFirstWindows.pairs, kFirstWindows.work << vain};
  Packing lower = packing_;
  const WindowRepairs done = repair_windows(instance_, lower, goal, limits, control);
  nodes_ += done.nodes;
  if (done.lower) {
    adopt(std::move(lower), "search of windows");
  } else {
    // Where no window is worth a search, that seldom changes.
    vain += done.searches > 0 ? 1 : kVainWindows / 2;
  }
}

}  // namespace planner::offsets
