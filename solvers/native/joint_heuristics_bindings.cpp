// Python's view of the heuristics for order and residency together.
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "arrays.hpp"
#include "bindings.hpp"
#include "control.hpp"
#include "joint_annealing.hpp"
#include "joint_beam.hpp"
#include "joint_eviction.hpp"

namespace planner {

namespace {

using joint::Order;

Order read_order(const joint::JointModel& model, const InputArray<std::int32_t>& array) {
  Order order(array.data(), array.data() + array.size());
  if (!joint::is_topological(model, order))
    throw nb::value_error("order: not every operator once, each after its predecessors");
  return order;
}

std::optional<std::int64_t> finite(std::int64_t traffic) {
  if (traffic == joint::kDoesNotFit) return std::nullopt;
  return traffic;
}

joint::EvictionRule rule_of(const std::string& name) {
  if (name == "furthest-use") return joint::EvictionRule::kFurthestUse;
  if (name == "copies-first") return joint::EvictionRule::kCopiesFirst;
  if (name == "smallest-cover") return joint::EvictionRule::kSmallestCover;
  if (name == "fewest-uses") return joint::EvictionRule::kFewestUses;
  if (name == "least-price") return joint::EvictionRule::kLeastPrice;
  throw nb::value_error(("rule: there is none called " + name).c_str());
}

std::optional<std::int64_t> order_traffic(const joint::JointModel& model,
                                          const InputArray<std::int32_t>& order,
                                          std::optional<std::string> rule) {
  const Order checked = read_order(model, order);
  std::optional<joint::EvictionRule> single;
  if (rule) single = rule_of(*rule);
  const nb::gil_scoped_release release;
  joint::OrderTraffic traffic(model);
  return finite(single ? traffic.by_rule(checked, *single)
                       : traffic.improved(checked, joint::kDoesNotFit));
}

std::vector<Order> read_orders(const joint::JointModel& model,
                               const std::vector<InputArray<std::int32_t>>& arrays) {
  if (arrays.empty()) throw nb::value_error("starts: at least one order is needed");
  std::vector<Order> orders;
  for (const InputArray<std::int32_t>& array : arrays) orders.push_back(read_order(model, array));
  return orders;
}

nb::tuple joint_beam(const joint::JointModel& model,
                     const std::vector<InputArray<std::int32_t>>& starts, double time_limit_s,
                     const CancelFlag& cancel, std::int32_t first_width, std::int32_t last_width,
                     std::int64_t goal) {
  if (first_width < 1 || last_width > joint::kWidestBeam)
    throw nb::value_error("width: not in 1 .. 2**20");
  const std::vector<Order> orders = read_orders(model, starts);
  joint::BeamResult result;
  {
    const nb::gil_scoped_release release;
    Control control(time_limit_s, &cancel);
    result = joint::beam(model, orders, {first_width, last_width, goal}, control);
  }
  nb::dict statistics;
  statistics["states"] = result.states;
  statistics["beams"] = result.beams;
  statistics["last_width"] = result.last_width;
  return nb::make_tuple(to_numpy(std::move(result.order)), finite(result.traffic), statistics);
}

nb::tuple joint_annealing(const joint::JointModel& model,
                          const std::vector<InputArray<std::int32_t>>& starts, double time_limit_s,
                          const CancelFlag& cancel, std::uint64_t seed,
                          std::int64_t most_evaluations, std::int64_t goal) {
  const std::vector<Order> orders = read_orders(model, starts);
  joint::AnnealingResult result;
  {
    const nb::gil_scoped_release release;
    Control control(time_limit_s, &cancel);
    result = joint::anneal(model, orders, {seed, most_evaluations, goal}, control);
  }
  nb::dict statistics;
  statistics["evaluations"] = result.evaluations;
  statistics["accepted"] = result.accepted;
  statistics["rounds"] = result.rounds;
  return nb::make_tuple(to_numpy(std::move(result.order)), finite(result.traffic), statistics);
}

}  // namespace

void bind_joint_heuristics(nb::module_& m) {
  m.def("order_traffic", &order_traffic, nb::arg("model"), nb::arg("order"),
        nb::arg("rule") = nb::none(),
        "Traffic of an order by capacity alone, by one rule or the best of all improved; None if "
        "the operands of a step do not fit.");
  m.def("joint_beam", &joint_beam, nb::arg("model"), nb::arg("starts"), nb::kw_only(),
        nb::arg("time_limit_s"), nb::arg("cancel"), nb::arg("first_width"), nb::arg("last_width"),
        nb::arg("goal") = 0,
        "Beam search over orders and residency: (order, traffic or None, statistics).");
  m.def("joint_annealing", &joint_annealing, nb::arg("model"), nb::arg("starts"), nb::kw_only(),
        nb::arg("time_limit_s"), nb::arg("cancel"), nb::arg("seed") = 0,
        nb::arg("most_evaluations") = 0, nb::arg("goal") = 0,
        "Annealing over orders: (order, traffic or None, statistics).");
}

}  // namespace planner
