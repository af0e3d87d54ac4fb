// Python's view of the spill-set kernels.
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "arrays.hpp"
#include "bindings.hpp"
#include "control.hpp"
#include "joint_model.hpp"
#include "spill_cuts.hpp"
#include "spill_hitting.hpp"
#include "spill_levels.hpp"

namespace planner {

namespace {

using joint::Answer;

// A cut: demand, and (element, level, weight) of its members.
using CutTuple =
    std::pair<std::int64_t, std::vector<std::tuple<std::int32_t, std::int32_t, std::int64_t>>>;

joint::Levels read_levels(const joint::LevelOracle& oracle,
                          const InputArray<std::int32_t>& array) {
  joint::Levels levels(array.data(), array.data() + array.size());
  if (levels.size() != oracle.most().size())
    throw nb::value_error("levels: one per storage is expected");
  for (std::size_t s = 0; s < levels.size(); ++s)
    if (levels[s] < 0 || levels[s] > oracle.most()[s])
      throw nb::value_error("levels: a level is not between 0 and the most absences");
  return levels;
}

std::string name_of(Answer answer) {
  if (answer == Answer::kFeasible) return "feasible";
  return answer == Answer::kInfeasible ? "infeasible" : "limit";
}

std::string decide(joint::LevelOracle& oracle, const InputArray<std::int32_t>& array,
                   std::int64_t expansions, std::int64_t max_nodes, double time_limit_s,
                   const CancelFlag& cancel) {
  const joint::Levels levels = read_levels(oracle, array);
  const nb::gil_scoped_release release;
  Control control(time_limit_s, &cancel);
  return name_of(oracle.decide(levels, {expansions, max_nodes}, control));
}

nb::object best(const joint::LevelOracle& oracle) {
  if (oracle.best_order().empty()) return nb::none();
  return nb::make_tuple(to_numpy(order::Order(oracle.best_order())),
                        oracle.best_residency().traffic,
                        to_numpy(std::vector<std::int32_t>(oracle.best_residency().absences)));
}

CutTuple to_tuple(const joint::Cut& cut) {
  CutTuple tuple;
  tuple.first = cut.demand;
  for (const joint::CutMember& member : cut.members)
    tuple.second.push_back({member.element, member.level, member.weight});
  return tuple;
}

// Pairs parted, pairs joined, storages absent.
using PairTuple = std::tuple<std::int32_t, std::int32_t, std::int32_t>;
using ClauseTuple =
    std::tuple<std::vector<PairTuple>, std::vector<PairTuple>, std::vector<std::int32_t>>;

std::vector<PairTuple> to_tuples(const std::vector<joint::PointPair>& pairs) {
  std::vector<PairTuple> tuples;
  for (const joint::PointPair& pair : pairs)
    tuples.push_back({pair.storage, pair.first, pair.second});
  return tuples;
}

std::tuple<std::vector<CutTuple>, std::vector<ClauseTuple>, std::string> cuts(
    joint::LevelOracle& oracle, const InputArray<std::int32_t>& array, std::int64_t expansions,
    std::int64_t growth, std::int64_t max_nodes, double time_limit_s, const CancelFlag& cancel) {
  const joint::Levels levels = read_levels(oracle, array);
  const nb::gil_scoped_release release;
  Control control(time_limit_s, &cancel);
  const joint::CutSet found =
      joint::find_cuts(oracle, levels, {expansions, max_nodes}, growth, control);
  std::vector<CutTuple> result;
  for (const joint::Cut& cut : found.cuts) result.push_back(to_tuple(cut));
  std::vector<ClauseTuple> clauses;
  for (const joint::Clause& clause : found.clauses)
    clauses.push_back({to_tuples(clause.parted), to_tuples(clause.joined), clause.absent});
  return {std::move(result), std::move(clauses), name_of(found.answer)};
}

CutTuple peak_cut(joint::LevelOracle& oracle, std::int64_t peak_bound, std::int64_t expansions,
                  double time_limit_s, const CancelFlag& cancel) {
  if (peak_bound <= oracle.model().capacity)
    throw nb::value_error("peak_bound: not above the capacity, so there is no cut");
  const nb::gil_scoped_release release;
  Control control(time_limit_s, &cancel);
  return to_tuple(joint::peak_cut(oracle, peak_bound - 1, expansions, control));
}

void offer(joint::LevelOracle& oracle, const InputArray<std::int32_t>& array) {
  const order::Order order(array.data(), array.data() + array.size());
  if (!oracle.is_order(order))
    throw nb::value_error("order: not every operator once, each after its predecessors");
  const nb::gil_scoped_release release;
  oracle.offer(order);
}

joint::HittingProblem read_hitting_problem(const InputArray<std::int64_t>& first_cost,
                                           const InputArray<std::int64_t>& more_cost,
                                           const std::vector<CutTuple>& cuts) {
  joint::HittingProblem problem{{first_cost.data(), first_cost.data() + first_cost.size()},
                                {more_cost.data(), more_cost.data() + more_cost.size()},
                                {}};
  if (problem.first_cost.size() != problem.more_cost.size())
    throw nb::value_error("more_cost: as many values as first_cost are expected");
  for (const auto* costs : {&problem.first_cost, &problem.more_cost})
    for (const std::int64_t cost : *costs)
      if (cost < 0) throw nb::value_error("a cost is negative");
  for (const auto& [demand, members] : cuts) {
    joint::Cut cut{{}, demand};
    std::int64_t left = demand;
    for (const auto& [element, level, weight] : members) {
      if (element < 0 || order::index(element) >= problem.first_cost.size() || level < 0 ||
          weight < 1 || weight > demand)
        throw nb::value_error("cuts: an element, a level or a weight is out of range");
      cut.members.push_back({element, level, weight});
      left -= std::min(left, weight);
    }
    if (left != 0 || demand < 1) throw nb::value_error("cuts: one cannot be met");
    problem.cuts.push_back(std::move(cut));
  }
  return problem;
}

nb::tuple minimum_hitting_set(const InputArray<std::int64_t>& first_cost,
                              const InputArray<std::int64_t>& more_cost,
                              const std::vector<CutTuple>& cuts, std::int64_t max_nodes,
                              double time_limit_s, const CancelFlag& cancel) {
  const joint::HittingProblem problem = read_hitting_problem(first_cost, more_cost, cuts);
  joint::HittingResult result;
  {
    const nb::gil_scoped_release release;
    Control control(time_limit_s, &cancel);
    result = joint::minimum_hitting_set(problem, max_nodes, control);
  }
  return nb::make_tuple(to_numpy(std::move(result.levels)), result.cost, result.bound,
                        result.nodes);
}

}  // namespace

void bind_spill_set(nb::module_& m) {
  nb::class_<joint::LevelOracle>(
      m, "SpillOracle",
      "Decides how often which storages have to be absent. For one thread at a time.")
      .def(nb::init<const joint::JointModel&, std::int64_t>(), nb::arg("model"), nb::kw_only(),
           nb::arg("memory_bytes"), nb::keep_alive<1, 2>())
      .def(
          "most_absences",
          [](const joint::LevelOracle& oracle) {
            return to_numpy(std::vector<std::int32_t>(oracle.most()));
          },
          "Of each storage, how often it can be absent at most.")
      .def("decide", &decide, nb::arg("levels"), nb::kw_only(), nb::arg("expansions"),
           nb::arg("max_nodes"), nb::arg("time_limit_s"), nb::arg("cancel"),
           "Whether some order keeps the levels: feasible, infeasible or limit.")
      .def("peak_cut", &peak_cut, nb::arg("peak_bound"), nb::kw_only(), nb::arg("expansions"),
           nb::arg("time_limit_s"), nb::arg("cancel"),
           "The cut that follows from a proven bound on the peak without absences.")
      .def("offer", &offer, nb::arg("order"), "Evaluate an order, all storages free to leave.")
      .def("best", &best, "Of all orders met, the one of least traffic: (order, traffic, absences of each storage);"
           " or None.")
      .def("cuts", &cuts, nb::arg("levels"), nb::kw_only(), nb::arg("expansions"),
           nb::arg("growth"), nb::arg("max_nodes"), nb::arg("time_limit_s"), nb::arg("cancel"),
           "Cuts that the levels do not meet, an empty one if none can be met; clauses behind them: "
           "some of these pairs of points (storage, point, point) is not in one stay, or some of "
           "those is, or some storage is absent; and the answer of `decide` on what they leave.")
      .def(
          "shared_stay",
          [](joint::LevelOracle& oracle, std::int32_t storage, std::int32_t a, std::int32_t b) {
            if (storage < 0 || storage >= oracle.model().storages())
              throw nb::value_error("storage: out of range");
            const joint::StayRules& rules = oracle.rules(storage);
            const auto count = static_cast<std::int32_t>(rules.points().size());
            if (std::min(a, b) < 0 || std::max(a, b) >= count || a == b)
              throw nb::value_error("points: out of range");
            const joint::Stays stays = *rules.joined(rules.unsettled(), a, b);
            std::vector<std::int32_t> points;
            for (std::int32_t i = 0; i < count; ++i)
              if (stays.class_of[joint::index(i)] == stays.class_of[joint::index(a)])
                points.push_back(i);
            return points;
          },
          nb::arg("storage"), nb::arg("first"), nb::arg("second"),
          "Points in one stay of the storage with two that are: these and all between.")
      .def(
          "statistics",
          [](const joint::LevelOracle& oracle) {
            nb::dict statistics;
            statistics["oracle_calls"] = oracle.decisions();
            statistics["searches"] = oracle.searches();
            statistics["states"] = oracle.states();
            return statistics;
          },
          "Decisions, searches behind them and their states so far.");
  m.def("minimum_hitting_set", &minimum_hitting_set, nb::kw_only(), nb::arg("first_cost"),
        nb::arg("more_cost"), nb::arg("cuts"), nb::arg("max_nodes"), nb::arg("time_limit_s"),
        nb::arg("cancel"), "Cheapest levels that meet every cut: (levels, cost, bound, nodes).");
}

}  // namespace planner
