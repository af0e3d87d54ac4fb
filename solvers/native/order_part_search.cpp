#include "order_part_search.hpp"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "order_beam.hpp"
#include "order_search.hpp"

namespace planner::order {

namespace {

// Budgets are counted in work, not in time, so that a run without a deadline can be repeated.
constexpr std::int64_t kNoisyWork = 2'000'000;  // operators placed by noisy list orders
constexpr std::int64_t kMaxNoisyOrders = 24;
constexpr std::int64_t kFirstExpansions = 4'000;  // of the search through all levels
constexpr std::int64_t kFirstDecision = 8'000;    // expansions of a decision in the first round
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
    search_upwards();
    Control share(kSearchShare * (options_.time_limit_s - control_.elapsed_s()), cancel_);
    if (is_open()) try_beam(kFirstBeamWork);
    for (std::int64_t expansions = kFirstDecision; narrow(expansions, share);) expansions *= 4;
    if (is_open()) try_beam(kLastBeamWork);
    result_.peak = std::max(result_.peak, level_);
    result_.bound = std::min(result_.bound, result_.peak);
    return std::move(result_);
  }

 private:
  enum class Answer { kYes, kNo, kUnknown, kStopped };

  bool is_open() const { return result_.bound < result_.peak; }

  void search_upwards() {
    OrderSearch search(model_, level_, result_.peak, options_.rules, options_.memory_bytes);
    search.run(kFirstExpansions, control_);
    accept(search.order());
    result_.bound = std::max(result_.bound, search.bound());
    count(search);
  }

  // Is there an order with a peak of at most `level`? Searching at one level alone, as if it were
  // the bound, is much less work than searching all levels up to it one by one: more is safe.
  Answer decide(std::int64_t level, std::int64_t expansions, Control& control) {
    OrderSearch search(model_, level, level + 1, options_.rules, options_.memory_bytes);
    ++result_.decisions;
    const auto progress = search.run(expansions, control);
    count(search);
    if (progress != OrderSearch::Progress::kSolved)
      return progress == OrderSearch::Progress::kStopped || search.full() ? Answer::kStopped
                                                                          : Answer::kUnknown;
    if (const auto order = search.order()) {
      accept(order);
      return Answer::kYes;
    }
    result_.bound = std::max(result_.bound, search.next_level());
    return Answer::kNo;
  }

  // Moves the peak and the bound towards each other as far as decisions of limited size can. False
  // if there is nothing left to do, or no means to do it.
  bool narrow(std::int64_t expansions, Control& control) {
    // Next below the peak a "no" settles everything; after a "yes" be bolder.
    std::int64_t below = 1;
    for (Answer answer = Answer::kYes; is_open();) {
      answer = decide(std::max(result_.peak - below, result_.bound), expansions, control);
      if (answer == Answer::kStopped) return false;
      if (answer == Answer::kYes) {
        below = std::max(2 * below, (result_.peak - result_.bound) / 64);
        continue;
      }
      if (answer == Answer::kUnknown && below == 1) break;
      below = 1;
    }
    for (Answer answer = Answer::kNo; is_open() && answer != Answer::kUnknown;) {
      answer = decide(result_.bound + (result_.peak - result_.bound) / 4, expansions, control);
      if (answer == Answer::kStopped) return false;
    }
    return is_open();
  }

  void count(const OrderSearch& search) {
    result_.states += search.states();
    result_.expanded += search.expanded();
  }

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
    std::vector<std::int32_t> missing(index(model_.operators));
    std::int64_t ready = 0;
    for (std::int32_t v = 0; v < model_.operators; ++v) {
      missing[index(v)] = model_.predecessors[v].size();
      if (missing[index(v)] == 0) ++ready;
    }
    std::int64_t children = 0;
    for (const std::int32_t v : result_.order) {
      children += ready--;
      for (const std::int32_t q : model_.successors[v])
        if (--missing[index(q)] == 0) ++ready;
    }
    const std::int64_t width = std::min(kMaxBeamWidth, work / children);
    if (width == 0 || control_.stop_now()) return;
    ++result_.beams;
    accept(beam_order(model_, level_, result_.peak, options_.rules,
                      static_cast<std::int32_t>(width), options_.memory_bytes, control_));
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
