// Python's view of the ordering kernels.
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>

#include <optional>
#include <string>
#include <utility>

#include "arrays.hpp"
#include "bindings.hpp"
#include "control.hpp"
#include "order_bound.hpp"
#include "order_heuristics.hpp"
#include "order_model.hpp"
#include "order_solve.hpp"

namespace planner {

namespace {

order::RaggedView view(const InputArray<std::int64_t>& offsets,
                       const InputArray<std::int32_t>& values) {
  return {offsets.data(), offsets.size(), values.data(), values.size()};
}

order::OrderModel make_model(std::int64_t operators, const InputArray<std::int64_t>& size,
                             const InputArray<std::int64_t>& predecessor_offsets,
                             const InputArray<std::int32_t>& predecessors,
                             const InputArray<std::int64_t>& starter_offsets,
                             const InputArray<std::int32_t>& starters,
                             const InputArray<std::int64_t>& user_offsets,
                             const InputArray<std::int32_t>& users, const InputArray<bool>& kept,
                             const InputArray<std::int64_t>& in_place_offsets,
                             const InputArray<std::int32_t>& in_place) {
  const order::OrderArrays arrays{operators,
                                  size.data(),
                                  size.size(),
                                  view(predecessor_offsets, predecessors),
                                  view(starter_offsets, starters),
                                  view(user_offsets, users),
                                  kept.data(),
                                  kept.size(),
                                  view(in_place_offsets, in_place)};
  order::OrderModel model;
  std::optional<std::string> problem;
  {
    const nb::gil_scoped_release release;
    problem = order::build_model(arrays, model);
  }
  if (problem) throw nb::value_error(problem->c_str());
  return model;
}

order::Order read_order(const order::OrderModel& model, const InputArray<std::int32_t>& array) {
  order::Order order(array.data(), array.data() + array.size());
  if (!order::is_topological(model, order))
    throw nb::value_error("order: not every operator once, each after its predecessors");
  return order;
}

order::ListRule rule_of(const std::string& name) {
  if (name == "default") return order::ListRule::kDefault;
  if (name == "lpmf") return order::ListRule::kLeastLive;
  if (name == "depth-first") return order::ListRule::kDepthFirst;
  if (name == "breadth-first") return order::ListRule::kBreadthFirst;
  throw nb::value_error(("rule: there is none called " + name).c_str());
}

nb::tuple list_order(const order::OrderModel& model, const std::string& rule) {
  const order::ListRule list_rule = rule_of(rule);
  order::Order order;
  std::int64_t peak = 0;
  std::int64_t bound = 0;
  {
    const nb::gil_scoped_release release;
    order = order::list_order(model, list_rule, 0);
    peak = order::peak_of(model, order);
    bound = order::footprint_bound(model);
  }
  return nb::make_tuple(to_numpy(std::move(order)), peak, bound);
}

nb::tuple exact_order(const order::OrderModel& model, double time_limit_s, const CancelFlag& cancel,
                      std::uint64_t seed, std::optional<InputArray<std::int32_t>> incumbent,
                      bool dominance, bool climbs, bool decompose, std::int64_t memory_bytes) {
  order::Order known;
  if (incumbent) known = read_order(model, *incumbent);
  const order::SolveOptions options{
      time_limit_s, seed, {dominance, climbs}, decompose, memory_bytes};
  order::SolveResult result;
  {
    const nb::gil_scoped_release release;
    result = order::solve(model, known, options, &cancel);
  }
  nb::dict statistics;
  statistics["footprint_bound"] = result.footprint_bound;
  statistics["cut_bound"] = result.cut_bound;
  statistics["parts"] = result.parts;
  statistics["searched_parts"] = result.searched;
  statistics["states"] = result.states;
  statistics["expanded"] = result.expanded;
  statistics["cuts"] = result.cuts;
  statistics["decisions"] = result.decisions;
  statistics["beams"] = result.beams;
  statistics["heuristics_cpu_s"] = result.heuristics_cpu_s;
  statistics["bound_cpu_s"] = result.bound_cpu_s;
  statistics["search_cpu_s"] = result.search_cpu_s;
  return nb::make_tuple(to_numpy(std::move(result.order)), result.peak, result.bound, statistics);
}

}  // namespace

void bind_order(nb::module_& m) {
  nb::class_<order::OrderModel>(m, "OrderModel",
                                "A checked ordering problem. Immutable; any thread may use it.");
  m.def("order_model", &make_model, nb::kw_only(), nb::arg("operators"), nb::arg("size"),
        nb::arg("predecessor_offsets"), nb::arg("predecessors"), nb::arg("starter_offsets"),
        nb::arg("starters"), nb::arg("user_offsets"), nb::arg("users"), nb::arg("kept"),
        nb::arg("in_place_offsets"), nb::arg("in_place"),
        "Check the arrays of a planner.problem.OrderProblem; ValueError says what is wrong.");
  m.def("list_order", &list_order, nb::arg("model"), nb::arg("rule"),
        "Order by a list rule: (order, peak, largest footprint of an operator).");
  m.def("exact_order", &exact_order, nb::arg("model"), nb::kw_only(), nb::arg("time_limit_s"),
        nb::arg("cancel"), nb::arg("seed") = 0, nb::arg("incumbent") = nb::none(),
        nb::arg("dominance") = true, nb::arg("climbs") = true, nb::arg("decompose") = true,
        nb::arg("memory_bytes"),
        "Order of the smallest peak: (order, peak, proven lower bound, statistics).");
}

}  // namespace planner
