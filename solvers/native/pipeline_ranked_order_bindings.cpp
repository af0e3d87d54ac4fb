// Python's view of the orders of pipeline passes by rank.
#include <algorithm>
#include <cstdint>
#include <optional>
#include <utility>

#include "arrays.hpp"
#include "bindings.hpp"
#include "control.hpp"
#include "pipeline_ranked_order.hpp"

namespace planner {

namespace {

using pipeline::PipelineModel;

nb::object order_by_rank(const PipelineModel& model, const InputArray<std::int64_t>& rank,
                         std::int64_t reach_at_start, std::int64_t reach_between,
                         std::int64_t reach_at_end, bool lazy_weights, std::int32_t weight_delay,
                         std::int64_t longest_stage, double time_limit_s, const CancelFlag* cancel) {
  if (rank.size() != pipeline::at(model.passes)) {
    throw nb::value_error("rank: one a pass is needed");
  }
  if (std::min({reach_at_start, reach_between, reach_at_end}) < 0 || weight_delay < 0) {
    throw nb::value_error("reaches and delays are not negative");
  }
  const pipeline::RankPolicy policy{reach_at_start, reach_at_end, reach_between,
                                    lazy_weights,   weight_delay, longest_stage};
  std::optional<pipeline::RankedOrder> found;
  {
    const nb::gil_scoped_release release;
    Control control(time_limit_s, cancel);
    found = pipeline::order_by_rank(model, rank.data(), policy, control);
  }
  if (!found) return nb::none();
  return nb::make_tuple(to_numpy(std::move(found->order)), found->longest_stage, found->makespan);
}

}  // namespace

void bind_pipeline_ranked_order(nb::module_& m) {
  m.def("pipeline_order_by_rank", &order_by_rank, nb::arg("model"), nb::arg("rank"), nb::kw_only(),
        nb::arg("reach_at_start"), nb::arg("reach_between"), nb::arg("reach_at_end"),
        nb::arg("lazy_weights"), nb::arg("weight_delay"), nb::arg("longest_stage"),
        nb::arg("time_limit_s"), nb::arg("cancel").none(),
        "Order passes by rank, one a pass, within memory: order, longest stage, makespan.");
}

}  // namespace planner
