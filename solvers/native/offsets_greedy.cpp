#include "offsets_greedy.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <limits>
#include <numeric>
#include <optional>

#include "offsets_constraints.hpp"
#include "offsets_occupancy.hpp"
#include "offsets_sweep.hpp"

namespace planner::offsets {
namespace {

// All orders after the first may cost this much (Occupancy::work), about two CPU seconds; reached
// only by instances of several ten thousand buffers. Counted, not timed, so that the result does
// not depend on the machine.
constexpr std::uint64_t kWorkLimit = 60'000'000;

enum class Fit { kFirst, kBest };
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
  // when the work allowed is used up.
  std::int64_t run(const Order& order, Fit fit, std::int64_t limit, std::uint64_t work_limit,
                   Control& control) {
    occupancy_.clear();
    std::int64_t height = 0;
    for (std::int32_t buffer : order) {
      if (control.stop() || occupancy_.work() > work_limit) return limit;
      const auto v = static_cast<std::size_t>(buffer);
      const std::int64_t size = instance_.padded_size[v];
      occupancy_.select(instance_.first_section[v], instance_.end_section[v]);
      offsets_[v] = fit == Fit::kFirst ? occupancy_.first_fit(size, instance_.alignment[v])
                                       : occupancy_.best_fit(size, instance_.alignment[v]);
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
    if (!finished() && !hint.empty()) try_order(ascending(hint), Fit::kFirst, "incumbent");
    if (!finished()) run_portfolio();
    return best_;
  }

 private:
  bool finished() const { return best_.packing.height <= good_enough_; }

  // True when there is no point in going on.
  bool try_order(const Order& order, Fit fit, const std::string& name) {
    const std::uint64_t work_limit =
        orders_run_ == 0 ? std::numeric_limits<std::uint64_t>::max() : kWorkLimit;
    const std::int64_t height =
        constrained_ ? constrained_->run(order, fit == Fit::kBest, best_.packing.height, work_limit,
                                         &control_)
                     : decoder_.run(order, fit, best_.packing.height, work_limit, control_);
    ++orders_run_;
    if (height < best_.packing.height) {
      best_.packing = {constrained_ ? constrained_->offsets() : decoder_.offsets(), height};
      best_.order = name;
    }
    const std::uint64_t work = constrained_ ? constrained_->work() : decoder_.work();
    return finished() || work > kWorkLimit || control_.stop_now();
  }

  static Order ascending(const std::vector<std::int64_t>& hint) {
    Order order(hint.size());
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&hint](std::int32_t u, std::int32_t v) {
      return hint[static_cast<std::size_t>(u)] < hint[static_cast<std::size_t>(v)];
    });
    return order;
  }

  void run_portfolio() {
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
    };
    const std::array<Rule, 8> rules{{{"size", size, none},
                                     {"span", span, none},
                                     {"start", start, none},
                                     {"area", area, none},
                                     {"conflicts", conflicts, none},
                                     {"span and area", span, area},
                                     {"busiest section and area", busiest, area},
                                     {"end", end, none}}};
    for (Ties ties : {Ties::kEarliestFirst, Ties::kLatestFirst}) {
      for (const Rule& rule : rules) {
        const Order order = sorted_by(instance_, rule.primary, rule.secondary, ties);
        for (Fit fit : {Fit::kFirst, Fit::kBest}) {
          const std::string name = std::string(rule.name) +
                                   (fit == Fit::kFirst ? ", first fit" : ", best fit") +
                                   (ties == Ties::kEarliestFirst ? "" : ", late ties");
          if (try_order(order, fit, name)) return;
        }
      }
    }
  }

  const Instance& instance_;
  Decoder decoder_;
  std::optional<ConstrainedDecoder> constrained_;  // in its place if there are constraints
  std::int64_t good_enough_;
  Control& control_;
  GreedyResult best_;
  int orders_run_ = 0;
};

}  // namespace

std::int64_t packing_height(const Instance& instance, const std::vector<std::int64_t>& offsets) {
  std::int64_t height = 0;
  for (std::size_t v = 0; v < instance.buffers(); ++v) {
    height = std::max(height, offsets[v] + instance.size[v]);
  }
  return height;
}

GreedyResult pack_greedily(const Instance& instance, const std::vector<std::int64_t>& hint,
                           std::int64_t good_enough, Control& control) {
  return Portfolio(instance, good_enough, control).run(hint);
}

}  // namespace planner::offsets
