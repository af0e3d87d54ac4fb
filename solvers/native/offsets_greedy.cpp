#include "offsets_greedy.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <limits>
#include <numeric>
#include <optional>

#include "offsets_constraints.hpp"
#include "offsets_occupancy.hpp"
#include "offsets_overwrites.hpp"
#include "offsets_repair.hpp"
#include "offsets_skyline.hpp"
#include "offsets_sweep.hpp"

namespace planner::offsets {
namespace {

// What all orders together may cost (Occupancy::work), those of planners in use about two CPU
// seconds and the others about one; reached only by instances of several ten thousand buffers.
// Counted, not timed, so that the result does not depend on the machine.
constexpr std::uint64_t kInUseWork = 150'000'000;
constexpr std::uint64_t kWorkLimit = 60'000'000;

// Smaller instances are left to the orders and to the search.
constexpr std::size_t kLargeInstance = 2'000;

// Candidates for the skyline, about two CPU seconds.
constexpr std::uint64_t kSkylineWork = 11'000'000;

// Of each repair: for each buffer of the instance, buffers looked at. Of 60,000 buffers the second
// one takes about a CPU second.
constexpr RepairLimits kFirstRepair{70, 20};
constexpr RepairLimits kSecondRepair{1'000, 700};

// A packing with a skyline of a share of the area, to be tried unless the best is above the bound
// by less than its so many-th part.
struct SkylineTry {
  double share;
  std::int64_t close;
};
constexpr std::array<SkylineTry, 2> kSkylines{{{0.8, 100}, {0.9, 60}}};

// The second one is tried if the first looked at no more candidates than this.
constexpr std::uint64_t kCheapSkyline = 2'000'000;

// A packing above the best by less than its so many-th part is worth repairing.
constexpr std::int64_t kWorthRepair = 20;

constexpr std::uint64_t kUnlimited = std::numeric_limits<std::uint64_t>::max();

// kBestUnpadded tells gaps apart by the bytes that buffers leave between their end and the next
// multiple of the granule.
enum class Fit { kFirst, kBest, kBestUnpadded };
enum class Ties { kEarliestFirst, kLatestFirst };

using Order = std::vector<std::int32_t>;
using Keys = std::vector<double>;

// Number of buffers that each buffer conflicts with.
Keys conflict_counts(const Instance& instance) {
  const std::size_t n = instance.buffers();
  const auto sections = static_cast<std::size_t>(instance.sections);
  std::vector<std::int32_t> ended(sections + 1, 0);    // lifetimes that end at or before a section
  std::vector<std::int32_t> started(sections + 1, 0);  // lifetimes that start before a section
  for (std::size_t v = 0; v < n; ++v) {
    ++ended[static_cast<std::size_t>(instance.end_section[v])];
    ++started[static_cast<std::size_t>(instance.first_section[v]) + 1];
  }
  std::partial_sum(ended.begin(), ended.end(), ended.begin());
  std::partial_sum(started.begin(), started.end(), started.begin());
  Keys counts(n);
  for (std::size_t v = 0; v < n; ++v) {
    counts[v] = started[static_cast<std::size_t>(instance.end_section[v])] -
                ended[static_cast<std::size_t>(instance.first_section[v])] - 1;
  }
  return counts;
}

// Places buffers one by one in a given order.
class Decoder {
 public:
  explicit Decoder(const Instance& instance)
      : instance_(instance), occupancy_(instance.sections), offsets_(instance.buffers()) {}

  // Returns the height, or something not below `limit` as soon as that is certain, when stopped, or
  // when the work allowed is used up. Buffers that have a place in the skyline come first in the
  // order and keep it.
  std::int64_t run(const Order& order, Fit fit, std::int64_t limit, std::uint64_t work_limit,
                   Control& control, const std::vector<std::int64_t>* skyline = nullptr) {
    occupancy_.clear();
    std::int64_t height = 0;
    for (std::int32_t buffer : order) {
      if (control.stop() || occupancy_.work() > work_limit) return limit;
      const auto v = static_cast<std::size_t>(buffer);
      occupancy_.select(instance_.first_section[v], instance_.end_section[v]);
      const std::int64_t size =
          fit == Fit::kBestUnpadded ? instance_.size[v] : instance_.padded_size[v];
      if (skyline != nullptr && (*skyline)[v] >= 0) {
        offsets_[v] = (*skyline)[v];
      } else {
        offsets_[v] = fit == Fit::kFirst ? occupancy_.first_fit(size, instance_.alignment[v])
                                         : occupancy_.best_fit(size, instance_.alignment[v]);
      }
      occupancy_.occupy(offsets_[v], size);
      height = std::max(height, offsets_[v] + instance_.size[v]);
      if (height >= limit) return height;
    }
    return height;
  }

  const std::vector<std::int64_t>& offsets() const { return offsets_; }
  std::uint64_t work() const { return occupancy_.work(); }

 private:
  const Instance& instance_;
  Occupancy occupancy_;
  std::vector<std::int64_t> offsets_;
};

// Buffers by descending keys, ties by start of the lifetime.
Order sorted_by(const Instance& instance, const Keys& primary, const Keys& secondary, Ties ties) {
  Order order(instance.buffers());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](std::int32_t x, std::int32_t y) {
    const auto u = static_cast<std::size_t>(x);
    const auto v = static_cast<std::size_t>(y);
    if (primary[u] != primary[v]) return primary[u] > primary[v];
    if (secondary[u] != secondary[v]) return secondary[u] > secondary[v];
    if (instance.lower[u] != instance.lower[v]) {
      return (instance.lower[u] < instance.lower[v]) == (ties == Ties::kEarliestFirst);
    }
    if (instance.upper[u] != instance.upper[v]) return instance.upper[u] > instance.upper[v];
    if (instance.size[u] != instance.size[v]) return instance.size[u] > instance.size[v];
    return u < v;
  });
  return order;
}

// The order of GreedyMemoryPlanner in TensorFlow Lite Micro: descending sizes; its list is filled
// from the tail, so of several equal ones the last in the file comes first.
Order tensorflow_lite_micro_order(const Instance& instance) {
  Order order(instance.buffers());
  std::iota(order.rbegin(), order.rend(), 0);
  std::stable_sort(order.begin(), order.end(), [&](std::int32_t u, std::int32_t v) {
    return instance.size[static_cast<std::size_t>(u)] > instance.size[static_cast<std::size_t>(v)];
  });
  return order;
}

// The order of ArenaPlanner in TensorFlow Lite: what lives all the time, then descending sizes,
// ties by start and index.
Order tensorflow_lite_order(const Instance& instance) {
  const std::int64_t first = *std::min_element(instance.lower.begin(), instance.lower.end());
  const std::int64_t last = *std::max_element(instance.upper.begin(), instance.upper.end());
  const auto always = [&](std::size_t v) {
    return instance.lower[v] == first && instance.upper[v] == last;
  };
  Order order(instance.buffers());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](std::int32_t x, std::int32_t y) {
    const auto u = static_cast<std::size_t>(x);
    const auto v = static_cast<std::size_t>(y);
    if (always(u) != always(v)) return always(u);
    if (always(u)) return u < v;
    if (instance.size[u] != instance.size[v]) return instance.size[u] > instance.size[v];
    if (instance.lower[u] != instance.lower[v]) return instance.lower[u] < instance.lower[v];
    return u < v;
  });
  return order;
}

class Portfolio {
 public:
  Portfolio(const Instance& instance, std::int64_t good_enough, Control& control)
      : instance_(instance),
        decoder_(instance),
        good_enough_(std::max(good_enough, instance.lower_bound)),
        control_(control) {
    if (instance.constrained()) {
      constrained_.emplace(instance, kLooseLimit);
      const std::int64_t endless = std::numeric_limits<std::int64_t>::max();
      const Keys none(instance.buffers(), 0.0);
      best_.packing.height =
          constrained_->run(sorted_by(instance, none, none, Ties::kEarliestFirst), false, endless,
                            std::numeric_limits<std::uint64_t>::max(), nullptr);
      best_.packing.offsets = constrained_->offsets();
      best_.order = "start, first fit";
      return;
    }
    best_.packing.offsets = pack_by_sweep(instance);
    best_.packing.height = packing_height(instance, best_.packing.offsets);
    best_.order = "start, free list";
  }

  GreedyResult run(const std::vector<std::int64_t>& hint) {
    if (instance_.constrained() && !hint.empty() && is_packing(instance_, hint) &&
        packing_height(instance_, hint) < best_.packing.height) {
      best_ = {{hint, packing_height(instance_, hint)}, "incumbent"};
    }
    if (finished()) return best_;
    if (!hint.empty() && try_order(ascending(hint), Fit::kFirst, kUnlimited, "incumbent")) {
      return best_;
    }
    if (try_order(tensorflow_lite_micro_order(instance_), Fit::kFirst, kUnlimited,
                  "size, first fit, as TensorFlow Lite Micro")) {
      return best_;
    }
    const bool large = !constrained_ && instance_.buffers() >= kLargeInstance;
    if (large && improve()) return best_;
    if (try_order(tensorflow_lite_order(instance_), Fit::kBestUnpadded, kUnlimited,
                  "size, best fit, as TensorFlow Lite")) {
      return best_;
    }
    run_orders();
    if (large && !finished() && !control_.stop_now()) repair_best(kFirstRepair);
    return best_;
  }

 private:
  bool finished() const { return best_.packing.height <= good_enough_; }

  // True when there is no point in going on.
  bool try_order(const Order& order, Fit fit, std::uint64_t work_limit, const std::string& name,
                 const std::vector<std::int64_t>* skyline = nullptr) {
    const std::int64_t height =
        constrained_
            ? constrained_->run(order, fit != Fit::kFirst, best_.packing.height, work_limit,
                                &control_)
            : decoder_.run(order, fit, best_.packing.height, work_limit, control_, skyline);
    if (height < best_.packing.height) {
      best_.packing = {constrained_ ? constrained_->offsets() : decoder_.offsets(), height};
      best_.order = name;
    }
    return finished() || control_.stop_now();
  }

  std::uint64_t work() const { return constrained_ ? constrained_->work() : decoder_.work(); }

  static Order ascending(const std::vector<std::int64_t>& hint) {
    Order order(hint.size());
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&hint](std::int32_t u, std::int32_t v) {
      return hint[static_cast<std::size_t>(u)] < hint[static_cast<std::size_t>(v)];
    });
    return order;
  }

  // Large instances: low enough a packing spares most orders most of their work. True when there
  // is no point in going on.
  bool improve() {
    repair_best(kFirstRepair);
    std::uint64_t skyline_work = 0;
    for (const auto& [share, close] : kSkylines) {
      if (best_.packing.height - good_enough_ <= good_enough_ / close) break;
      if (control_.stop_now() || skyline_work > kCheapSkyline) break;
      skyline_work = try_skyline(share);
    }
    return finished() || control_.stop_now();
  }

  void repair_best(RepairLimits limits) {
    limits.work *= instance_.buffers();
    limits.attempt *= instance_.buffers();
    if (repair(instance_, best_.packing, good_enough_, limits, control_)) {
      best_.order += ", repaired";
    }
  }

  // Repaired as well, because it may then be lower than the best even if it is not yet. Returns the
  // candidates looked at.
  std::uint64_t try_skyline(double share) {
    const Keys size(instance_.padded_size.begin(), instance_.padded_size.end());
    const Skyline skyline = pack_by_skyline(instance_, share, kSkylineWork, control_);
    Order order = sorted_by(instance_, size, Keys(size.size(), 0.0), Ties::kEarliestFirst);
    std::stable_partition(order.begin(), order.end(), [&skyline](std::int32_t v) {
      return skyline.offsets[static_cast<std::size_t>(v)] >= 0;
    });
    GreedyResult best = std::move(best_);
    best_ = {{{}, best.packing.height + best.packing.height / kWorthRepair}, ""};
    try_order(order, Fit::kFirst, kUnlimited, "skyline", &skyline.offsets);
    if (!best_.packing.offsets.empty()) repair_best(kSecondRepair);
    if (best_.packing.height >= best.packing.height) best_ = std::move(best);
    return skyline.work;
  }

  void run_orders() {
    const std::size_t n = instance_.buffers();
    Keys size(n), span(n), area(n), start(n), end(n), busiest(n);
    const std::vector<std::int64_t> busiest_bytes = instance_.busiest_section_bytes();
    for (std::size_t v = 0; v < n; ++v) {
      size[v] = static_cast<double>(instance_.padded_size[v]);
      span[v] = instance_.span(v);
      area[v] = size[v] * span[v];
      start[v] = -static_cast<double>(instance_.lower[v]);
      end[v] = static_cast<double>(instance_.upper[v]);
      busiest[v] = static_cast<double>(busiest_bytes[v]);
    }
    const Keys conflicts = conflict_counts(instance_);
    const Keys none(n, 0.0);

    struct Rule {
      const char* name;
      const Keys& primary;
      const Keys& secondary;
      bool first_fit, best_fit;  // whether a planner in use works that way
    };
    const std::array<Rule, 8> rules{{{"span", span, none, false, true},
                                     {"start", start, none, false, true},
                                     {"area", area, none, true, true},
                                     {"conflicts", conflicts, none, true, false},
                                     {"span and area", span, area, true, false},
                                     {"busiest section and area", busiest, area, true, false},
                                     {"size", size, none, true, true},
                                     {"end", end, none, false, false}}};
    auto run = [&](Ties ties, bool in_use) {
      const bool usual = in_use && ties == Ties::kEarliestFirst;
      const std::uint64_t work_limit = usual ? kInUseWork : kWorkLimit;
      for (const Rule& rule : rules) {
        const bool first_fit = in_use == rule.first_fit;
        const bool best_fit = in_use == rule.best_fit;
        if (!first_fit && !best_fit) continue;
        const Order order = sorted_by(instance_, rule.primary, rule.secondary, ties);
        for (Fit fit : {Fit::kFirst, Fit::kBest}) {
          if (fit == Fit::kFirst ? !first_fit : !best_fit) continue;
          const std::string name = std::string(rule.name) +
                                   (fit == Fit::kFirst ? ", first fit" : ", best fit") +
                                   (ties == Ties::kEarliestFirst ? "" : ", late ties");
          if (work() > work_limit || try_order(order, fit, work_limit, name)) return true;
        }
      }
      return false;
    };
    if (run(Ties::kEarliestFirst, true) || run(Ties::kEarliestFirst, false)) return;
    if (run(Ties::kLatestFirst, true)) return;
    run(Ties::kLatestFirst, false);
  }

  const Instance& instance_;
  Decoder decoder_;
  std::optional<ConstrainedDecoder> constrained_;  // in its place if there are constraints
  std::int64_t good_enough_;
  Control& control_;
  GreedyResult best_;
};

}  // namespace

std::int64_t packing_height(const Instance& instance, const std::vector<std::int64_t>& offsets) {
  std::int64_t height = 0;
  for (std::size_t v = 0; v < instance.buffers(); ++v) {
    height = std::max(height, offsets[v] + instance.size[v]);
  }
  return height;
}

namespace {

// The lowest packing of some choices of overwrites, each packed as an instance without any. The
// first one mostly does, so that a hint usually comes from there.
GreedyResult pack_choices(const Instance& instance, bool hinted, std::int64_t good_enough,
                          Control& control) {
  const OverwriteChoices choices(instance);
  const Overwritten youngest = choices.youngest();
  const std::array<std::pair<Overwritten, const char*>, 3> tried{
      {{youngest, "the youngest overwritten: "},
       {choices.required(youngest, instance.lower_bound), "required overwrites: "},
       {choices.oldest(), "the oldest overwritten: "}}};
  GreedyResult best;
  for (auto k = std::size_t{hinted}; k < tried.size(); ++k) {
    const auto& [chosen, name] = tried[k];
    const Merged merged = choices.merge(chosen);
    if (!best.packing.offsets.empty() &&
        (merged.instance.lower_bound >= best.packing.height || control.stop_now())) {
      continue;
    }
    GreedyResult packed = Portfolio(merged.instance, good_enough, control).run({});
    if (!best.packing.offsets.empty() && packed.packing.height >= best.packing.height) continue;
    best = {{merged.unmerged(packed.packing.offsets), packed.packing.height}, name + packed.order};
    if (best.packing.height <= good_enough) break;
  }
  return best;
}

}  // namespace

GreedyResult pack_greedily(const Instance& instance, const std::vector<std::int64_t>& hint,
                           std::int64_t good_enough, Control& control) {
  if (!instance.only_overwrites) return Portfolio(instance, good_enough, control).run(hint);
  good_enough = std::max(good_enough, instance.lower_bound);
  GreedyResult merged = pack_choices(instance, !hint.empty(), good_enough, control);
  if (merged.packing.height <= good_enough || control.stop_now()) return merged;
  GreedyResult own = Portfolio(instance, good_enough, control).run(hint);
  return own.packing.height < merged.packing.height ? own : merged;
}

}  // namespace planner::offsets
