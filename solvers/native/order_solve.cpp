#include "order_solve.hpp"

#include <algorithm>
#include <ctime>
#include <optional>
#include <utility>

#include "order_beam.hpp"
#include "order_bound.hpp"
#include "order_parts.hpp"
#include "order_search.hpp"

namespace planner::order {

namespace {

std::size_t index(std::int32_t i) { return static_cast<std::size_t>(i); }

// Budgets are counted in work, not in time, so that a run without a deadline can be repeated.
constexpr std::int64_t kCutWork = 400'000'000;       // arcs looked at, per solve
constexpr std::int64_t kFirstExpansions = 20'000;    // of the search, before the first beam
constexpr std::int64_t kNoisyWork = 2'000'000;       // operators placed by noisy list orders
constexpr int kMaxNoisyOrders = 24;
constexpr std::int64_t kBeamWork[] = {400'000, 4'000'000};  // states the beams may look at
constexpr std::int32_t kMaxBeamWidth = 256;
// Of the time that is left, how much the exact search may take before the last beam.
constexpr double kSearchShare = 0.75;

// CPU seconds of this thread, where the system tells them.
double cpu_seconds() {
#if defined(CLOCK_THREAD_CPUTIME_ID)
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
#else
  return static_cast<double>(std::clock()) / CLOCKS_PER_SEC;
#endif
}

// Adds the CPU seconds of its lifetime to a total.
class Stopwatch {
 public:
  explicit Stopwatch(double& total) : total_(total), start_(cpu_seconds()) {}
  Stopwatch(const Stopwatch&) = delete;
  Stopwatch& operator=(const Stopwatch&) = delete;
  ~Stopwatch() { total_ += cpu_seconds() - start_; }

 private:
  double& total_;
  double start_;
};

// A part that leaves a choice: its operators in the best order so far.
struct Task {
  Part part;
  Order order;  // whole model's indices
  std::int64_t peak;
  std::int64_t bound;
  std::vector<std::int64_t> estimates;  // smallest transient seen, by operator of the part
};

class Solve {
 public:
  Solve(const OrderModel& model, const SolveOptions& options, const CancelFlag* cancel)
      : model_(model), options_(options), cancel_(cancel), control_(options.time_limit_s, cancel),
        models_(model) {}

  SolveResult run(const Order& incumbent) {
    result_.order = list_order(model_, ListRule::kDefault, 0);
    if (model_.operators == 0) {
      result_.peak = result_.bound = peak_of(model_, {});
      return std::move(result_);
    }
    make_tasks(incumbent);
    bound_tasks();
    search_tasks();
    for (const Task& task : tasks_)
      std::copy(task.order.begin(), task.order.end(), result_.order.begin() + task.part.first);
    result_.peak = peak_of(model_, result_.order);
    result_.bound = std::min(proven_bound(), result_.peak);
    return std::move(result_);
  }

 private:
  // List orders of the whole model are cut into parts, and each part takes the best piece.
  void make_tasks(const Order& incumbent) {
    const Stopwatch watch(result_.heuristics_cpu_s);
    std::vector<Order> orders;
    if (!incumbent.empty()) orders.push_back(incumbent);
    orders.push_back(result_.order);
    for (const ListRule rule : {ListRule::kLeastLive, ListRule::kDepthFirst})
      if (!control_.stop_now()) orders.push_back(list_order(model_, rule, 0));

    const std::vector<Part> parts =
        options_.decompose ? split(model_) : std::vector<Part>{{0, model_.operators}};
    std::vector<std::vector<std::int64_t>> by_order;
    for (const Order& order : orders) by_order.push_back(transients(model_, order));
    floor_ = result_.footprint_bound = footprint_bound(model_);
    for (const Part part : parts) {
      if (part.size() == 1) {
        floor_ = std::max(floor_, by_order[0][index(part.first)]);
        continue;
      }
      ++result_.parts;
      Task task{part, {}, 0, 0, {}};
      task.estimates.assign(by_order[0].begin() + part.first, by_order[0].begin() + part.last);
      std::optional<std::size_t> best;
      for (std::size_t i = 0; i < orders.size(); ++i) {
        std::int64_t peak = 0;
        for (std::int32_t v = part.first; v < part.last; ++v) {
          const std::int64_t transient = by_order[i][index(v)];
          peak = std::max(peak, transient);
          std::int64_t& estimate = task.estimates[index(v - part.first)];
          estimate = std::min(estimate, transient);
        }
        if (best && peak >= task.peak) continue;
        best = i;
        task.peak = peak;
      }
      task.order.assign(orders[*best].begin() + part.first, orders[*best].begin() + part.last);
      tasks_.push_back(std::move(task));
    }
  }

  // What is proven about the whole: no order can have a smaller peak.
  std::int64_t proven_bound() const {
    std::int64_t bound = floor_;
    for (const Task& task : tasks_) bound = std::max(bound, task.bound);
    return bound;
  }

  // Cuts for the parts that may still decide the peak, those with the highest peak first.
  void bound_tasks() {
    const Stopwatch watch(result_.bound_cpu_s);
    std::stable_sort(tasks_.begin(), tasks_.end(),
                     [](const Task& a, const Task& b) { return a.peak > b.peak; });
    std::int64_t work = kCutWork;
    std::int64_t bound = floor_;
    for (Task& task : tasks_) {
      if (task.peak <= bound || work < 0 || control_.stop_now()) break;
      const OrderModel part_model = models_.of(task.part);
      const BoundResult found = cut_bound(part_model, task.estimates, bound, work, control_);
      result_.cuts += found.cuts;
      bound = task.bound = found.bound;
    }
    result_.cut_bound = bound;
  }

  // The part with the largest bound first: its peak is the level at which the others start.
  void search_tasks() {
    const Stopwatch watch(result_.search_cpu_s);
    std::stable_sort(tasks_.begin(), tasks_.end(),
                     [](const Task& a, const Task& b) { return a.bound > b.bound; });
    std::int64_t level = result_.cut_bound;
    for (Task& task : tasks_) {
      if (task.peak > level && !control_.stop_now()) search_task(task, level);
      level = std::max(level, task.peak);
    }
  }

  void search_task(Task& task, std::int64_t level) {
    ++result_.searched;
    const OrderModel model = models_.of(task.part);
    try_noisy_orders(task, model, level);
    OrderSearch search(model, level, task.peak, options_.dominance, options_.memory_bytes);
    auto progress = search.run(kFirstExpansions, control_);
    accept(task, model, search.order());
    if (progress == OrderSearch::Progress::kLimit) {
      try_beam(task, model, level, kBeamWork[0]);
      search.lower_upper(task.peak);
      const double left_s = options_.time_limit_s - control_.elapsed_s();
      Control share(kSearchShare * left_s, cancel_);
      progress = search.run(std::numeric_limits<std::int64_t>::max(), share);
      accept(task, model, search.order());
      if (progress != OrderSearch::Progress::kSolved)
        try_beam(task, model, level, kBeamWork[1]);
    }
    // A bound at the starting level says nothing new: that level may come from another part.
    if (search.bound() > level) task.bound = std::max(task.bound, search.bound());
    result_.states += search.states();
    result_.expanded += search.expanded();
  }

  void try_noisy_orders(Task& task, const OrderModel& model, std::int64_t level) {
    const std::int64_t count =
        std::min<std::int64_t>(kMaxNoisyOrders, kNoisyWork / model.operators);
    for (std::int64_t i = 0; i < count && task.peak > level && !control_.stop_now(); ++i)
      accept(task, model,
             list_order(model, ListRule::kNoisy, options_.seed + static_cast<std::uint64_t>(i)));
  }

  // As wide as the work allows, by the number of children a state has in the best order.
  void try_beam(Task& task, const OrderModel& model, std::int64_t level, std::int64_t work) {
    Downset downset(model);
    std::int64_t children = 0;
    for (const std::int32_t v : task.order) {
      children += static_cast<std::int64_t>(downset.ready().size());
      downset.run(v - task.part.first);
    }
    const auto width =
        static_cast<std::int32_t>(std::min<std::int64_t>(kMaxBeamWidth, work / children));
    if (width == 0 || control_.stop_now()) return;
    ++result_.beams;
    accept(task, model,
           beam_order(model, level, task.peak, options_.dominance, width, control_));
  }

  void accept(Task& task, const OrderModel& model, std::optional<Order> order) {
    if (!order) return;
    const std::int64_t peak = peak_of(model, *order);
    if (peak >= task.peak) return;
    task.peak = peak;
    for (std::size_t i = 0; i < order->size(); ++i) task.order[i] = (*order)[i] + task.part.first;
  }

  const OrderModel& model_;
  const SolveOptions& options_;
  const CancelFlag* cancel_;
  Control control_;
  PartModels models_;
  SolveResult result_;
  std::vector<Task> tasks_;
  std::int64_t floor_ = 0;  // proven without cuts
};

}  // namespace

SolveResult solve(const OrderModel& model, const Order& incumbent, const SolveOptions& options,
                  const CancelFlag* cancel) {
  return Solve(model, options, cancel).run(incumbent);
}

}  // namespace planner::order
