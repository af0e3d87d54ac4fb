#include "order_solve.hpp"

#include <algorithm>
#include <ctime>
#include <optional>
#include <utility>

#include "order_bound.hpp"
#include "order_part_search.hpp"
#include "order_parts.hpp"
#include "order_shrink.hpp"

namespace planner::order {

namespace {

// Arcs looked at by all cuts together. Counted in work, not in time, so that a run without a
// deadline can be repeated.
constexpr std::int64_t kCutWork = 150'000'000;

constexpr std::int64_t kShrinkWork = 50'000'000;  // the same, once operators are settled

// Of the time that is left, how much the cuts may take.
constexpr double kBoundShare = 0.3;

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
  Order order;  // in the whole model's numbers
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
    if (!control_.stop_now()) orders.push_back(demand_order(model_));

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
    Control share(kBoundShare * (options_.time_limit_s - control_.elapsed_s()), cancel_);
    std::int64_t work = kCutWork;
    std::int64_t bound = floor_;
    for (Task& task : tasks_) {
      if (task.peak <= bound || work < 0 || share.stop_now()) break;
      std::vector<std::int64_t> estimates;
      for (const std::int32_t v : task.order)
        estimates.push_back(task.estimates[index(v - task.part.first)]);
      const BoundResult found = cut_bound(models_.of(task.part, task.order), std::move(estimates),
                                          bound, work, share);
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
    std::int64_t work = kShrinkWork;
    while (task.peak > level && !control_.stop_now()) {
      const Part middle = settle(task, level);
      const OrderModel part_model = models_.of(task.part, task.order);
      task.peak =
          std::max(level, peak_of(part_model, list_order(part_model, ListRule::kDefault, 0)));
      if (task.peak == level) return;
      Order numbering;
      for (std::int32_t i = middle.first; i < middle.last; ++i) numbering.push_back(i);
      const OrderModel model = PartModels(part_model).of(middle, numbering);
      if (middle.size() < task.part.size()) {
        // The same cuts see less freedom now.
        const BoundResult found =
            cut_bound(model, transients(model, list_order(model, ListRule::kDefault, 0)), level,
                      work, control_);
        result_.cuts += found.cuts;
        if (found.bound > level) {
          level = task.bound = std::max(task.bound, found.bound);
          continue;
        }
      }
      const PartSearchOptions options{options_.seed, options_.rules, options_.memory_bytes,
                                      options_.time_limit_s - control_.elapsed_s()};
      const PartSearchResult found = search_part(model, level, options, cancel_);
      const Order before = task.order;
      for (std::size_t i = 0; i < found.order.size(); ++i)
        task.order[index(middle.first) + i] = before[index(middle.first + found.order[i])];
      task.peak = found.peak;
      result_.states += found.states;
      result_.expanded += found.expanded;
      result_.decisions += found.decisions;
      result_.beams += found.beams;
      // A bound at the starting level says nothing new: that level may come from another part.
      if (found.bound > level) task.bound = std::max(task.bound, found.bound);
      return;
    }
  }

  // Moves the operators whose place is settled at this level to both ends of the task's order,
  // and returns the range of the others.
  Part settle(Task& task, std::int64_t level) {
    if (!options_.rules.chains) return {0, task.part.size()};
    const Settled settled = settled_operators(models_.of(task.part, task.order), level, control_);
    std::vector<char> is_settled(task.order.size(), 0);
    Order order;
    for (const std::int32_t i : settled.prefix) {
      is_settled[index(i)] = 1;
      order.push_back(task.order[index(i)]);
    }
    for (const std::int32_t i : settled.suffix) is_settled[index(i)] = 1;
    for (std::size_t i = 0; i < task.order.size(); ++i)
      if (!is_settled[i]) order.push_back(task.order[i]);
    for (const std::int32_t i : settled.suffix) order.push_back(task.order[index(i)]);
    task.order = std::move(order);
    return {static_cast<std::int32_t>(settled.prefix.size()),
            task.part.size() - static_cast<std::int32_t>(settled.suffix.size())};
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
