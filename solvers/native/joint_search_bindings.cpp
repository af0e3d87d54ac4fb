// Python's view of the exact search over order and residency.
#include <nanobind/stl/optional.h>

#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "arrays.hpp"
#include "bindings.hpp"
#include "control.hpp"
#include "joint_search_solve.hpp"
#include "order_model.hpp"

namespace planner {

namespace {

nb::tuple joint_exact(const joint::JointModel& model, const InputArray<std::int64_t>& cut_offsets,
                      const InputArray<std::int32_t>& cut_members, std::int64_t lower_bound,
                      std::optional<std::int64_t> upper, double time_limit_s,
                      const CancelFlag& cancel, std::int64_t memory_bytes) {
  const order::RaggedView view{cut_offsets.data(), cut_offsets.size(), cut_members.data(),
                               cut_members.size()};
  const auto count = static_cast<std::int64_t>(cut_offsets.size()) - 1;
  if (count < 0) throw nb::value_error("cuts: no offsets");
  if (const auto problem = order::check_ragged(view, "cuts", count, model.storages()))
    throw nb::value_error(problem->c_str());
  joint::SearchResult result;
  {
    const nb::gil_scoped_release release;
    std::vector<std::vector<std::int32_t>> cuts(static_cast<std::size_t>(count));
    for (std::int64_t c = 0; c < count; ++c)
      order::read_row(view, c, cuts[static_cast<std::size_t>(c)]);
    Control control(time_limit_s, &cancel);
    result = joint::search(
        model, cuts,
        {lower_bound, upper.value_or(std::numeric_limits<std::int64_t>::max()), memory_bytes},
        control);
  }
  nb::dict statistics;
  statistics["parts"] = result.parts;
  statistics["root_bound"] = result.root_bound;
  statistics["states"] = result.states;
  statistics["expanded"] = result.expanded;
  statistics["out_of_memory"] = result.full;
  statistics["cpu_s"] = result.cpu_s;
  return nb::make_tuple(result.found ? nb::cast(to_numpy(std::move(result.order))) : nb::none(),
                        result.traffic, result.bound, result.finished, statistics);
}

nb::object operator_beyond_capacity(const joint::JointModel& model) {
  const joint::Footprint footprint = joint::beyond_capacity(model);
  if (footprint.operation < 0) return nb::none();
  return nb::make_tuple(footprint.operation, footprint.bytes);
}

}  // namespace

void bind_joint_search(nb::module_& m) {
  m.def("joint_exact", &joint_exact, nb::arg("model"), nb::kw_only(), nb::arg("cut_offsets"),
        nb::arg("cut_members"), nb::arg("lower_bound") = 0, nb::arg("upper") = nb::none(),
        nb::arg("time_limit_s"), nb::arg("cancel"), nb::arg("memory_bytes"),
        "Least traffic over all orders: (order or None, traffic, bound, finished, statistics).");
  m.def("operator_beyond_capacity", &operator_beyond_capacity, nb::arg("model"),
        "The operator that needs most beyond the capacity and its bytes, or None.");
}

}  // namespace planner
