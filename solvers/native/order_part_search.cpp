#include "order_part_search.hpp"

#include <algorithm>
#include <limits>
#include <optional>
#include <utility>

#include "order_beam.hpp"
#include "order_search.hpp"

namespace planner::order {

namespace {

// Budgets are counted in work, not in time, so that a run without a deadline can be repeated.
constexpr std::int64_t kNoisyWork = 2'000'000;  // operators placed by noisy list orders
constexpr std::int64_t kMaxNoisyOrders = 24;
constexpr std::int64_t kFirstExpansions = 20'000;  // of the search, before the first beam
constexpr std::int64_t kFirstBeamWork = 400'000;   // states a beam may look at
constexpr std::int64_t kLastBeamWork = 4'000'000;
constexpr std::int64_t kMaxBeamWidth = 256;
// Of the time that is left, how much the exact search may take before the last beam.
constexpr double kSearchShare = 0.75;

class PartSearch {
 public:
  PartSearch(const OrderModel& model, std::int64_t level, const PartSearchOptions& options,
             const CancelFlag* cancel)
      : model_(model),
        level_(level),
        options_(options),
        cancel_(cancel),
        control_(options.time_limit_s, cancel) {
    result_.order = list_order(model, ListRule::kDefault, 0);
    result_.peak = peak_of(model, result_.order);
    result_.bound = level;
  }

  PartSearchResult run() {
    try_noisy_orders();
    OrderSearch search(model_, level_, result_.peak, options_.dominance, options_.memory_bytes);
    auto progress = search.run(kFirstExpansions, control_);
    accept(search.order());
    result_.stopped_at_higher_bound = options_.stop_at_higher_bound &&
                                      progress == OrderSearch::Progress::kLimit &&
                                      search.bound() > level_;
    if (progress == OrderSearch::Progress::kLimit && !result_.stopped_at_higher_bound) {
      try_beam(kFirstBeamWork);
      search.lower_upper(result_.peak);
      Control share(kSearchShare * (options_.time_limit_s - control_.elapsed_s()), cancel_);
      progress = search.run(std::numeric_limits<std::int64_t>::max(), share);
      accept(search.order());
      if (progress != OrderSearch::Progress::kSolved) try_beam(kLastBeamWork);
    }
    result_.peak = std::max(result_.peak, level_);
    result_.bound = std::max(result_.bound, search.bound());
    result_.states = search.states();
    result_.expanded = search.expanded();
    return std::move(result_);
  }

 private:
  void accept(std::optional<Order> order) {
    // Searches find topological orders; a broken one must not get any further.
    if (!order || !is_topological(model_, *order)) return;
    const std::int64_t peak = peak_of(model_, *order);
    if (peak >= result_.peak) return;
    result_.peak = peak;
    result_.order = std::move(*order);
  }

  void try_noisy_orders() {
    const std::int64_t count = std::min(kMaxNoisyOrders, kNoisyWork / model_.operators);
    for (std::int64_t i = 0; i < count && result_.peak > level_ && !control_.stop_now(); ++i)
      accept(list_order(model_, ListRule::kNoisy, options_.seed + static_cast<std::uint64_t>(i)));
  }

  // As wide as the work allows, judged by the ready operators along the best order.
  void try_beam(std::int64_t work) {
    Downset downset(model_);
    std::int64_t children = 0;
    for (const std::int32_t v : result_.order) {
      children += static_cast<std::int64_t>(downset.ready().size());
      downset.run(v);
    }
    const std::int64_t width = std::min(kMaxBeamWidth, work / children);
    if (width == 0 || control_.stop_now()) return;
    ++result_.beams;
    accept(beam_order(model_, level_, result_.peak, options_.dominance,
                      static_cast<std::int32_t>(width), control_));
  }

  const OrderModel& model_;
  const std::int64_t level_;
  const PartSearchOptions& options_;
  const CancelFlag* cancel_;
  Control control_;
  PartSearchResult result_{};
};

}  // namespace

PartSearchResult search_part(const OrderModel& model, std::int64_t level,
                             const PartSearchOptions& options, const CancelFlag* cancel) {
  return PartSearch(model, level, options, cancel).run();
}

}  // namespace planner::order
