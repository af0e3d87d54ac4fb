// Python's view of the orders of pipeline passes by rank.
#include <algorithm>
#include <cstdint>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include "arrays.hpp"
#include "bindings.hpp"
#include "control.hpp"
#include "pipeline_blocks.hpp"

namespace planner {

namespace {

using namespace pipeline_blocks;
using Numbers = InputArray<std::int64_t>;

Model read_model(const Numbers& device_of, const Numbers& forward, const Numbers& backward,
                 const Numbers& weight, const Numbers& hop, const Numbers& activation,
                 const Numbers& kept, const Numbers& limit, std::int64_t microbatches) {
  const std::size_t stages = device_of.size();
  for (const Numbers* array : {&forward, &backward, &weight, &hop, &activation, &kept}) {
    if (array->size() != stages) throw nb::value_error("arrays need one number per stage");
    const auto* last = array->data() + stages;
    if (std::any_of(array->data(), last, [](std::int64_t number) { return number < 0; })) {
      throw nb::value_error("ticks and bytes cannot be negative");
    }
  }
  const auto devices = static_cast<std::int64_t>(limit.size());
  const auto misplaced = [devices](std::int64_t d) { return d < 0 || d >= devices; };
  if (microbatches < 1 || microbatches > std::numeric_limits<std::int32_t>::max() ||
      std::any_of(device_of.data(), device_of.data() + stages, misplaced)) {
    throw nb::value_error("there has to be a microbatch, and every stage on a device");
  }
  const auto copy = [](const Numbers& array) {
    return std::vector<std::int64_t>(array.data(), array.data() + array.size());
  };
  Model model;
  model.devices = static_cast<std::int32_t>(devices);
  model.microbatches = static_cast<std::int32_t>(microbatches);
  model.device_of.assign(device_of.data(), device_of.data() + stages);
  model.ticks[kForward] = copy(forward);
  model.ticks[kBackward] = copy(backward);
  model.ticks[kWeight] = copy(weight);
  model.hop = copy(hop);
  model.activation = copy(activation);
  model.kept = copy(kept);
  model.limit = copy(limit);
  return model;
}

nb::object order(const Model& model, const Numbers& rank, std::int64_t reach_at_start,
                 std::int64_t reach_between, std::int64_t reach_at_end, bool lazy_weights,
                 std::int32_t weight_delay, std::int32_t overtaking_delay,
                 std::int64_t longest_stage, double time_limit_s, const CancelFlag* cancel) {
  if (rank.size() != std::size_t{kKinds} * model.stages() * model.microbatches) {
    throw nb::value_error("there has to be one rank per kind, stage and microbatch");
  }
  if (std::min({reach_at_start, reach_between, reach_at_end}) < 0 || weight_delay < 0 ||
      overtaking_delay < 0) {
    throw nb::value_error("reaches and delays are not negative");
  }
  const Policy policy{reach_at_start, reach_at_end,  reach_between,
                      lazy_weights,   weight_delay,  overtaking_delay, longest_stage};
  std::optional<Order> found;
  {
    const nb::gil_scoped_release release;
    Control control(time_limit_s, cancel);
    found = order_by_rank(model, rank.data(), policy, control);
  }
  if (!found) return nb::none();
  std::vector<std::int32_t> passes;
  for (const auto& own : found->passes) passes.insert(passes.end(), own.begin(), own.end());
  return nb::make_tuple(to_numpy(std::move(passes)), found->longest_stage, found->makespan);
}

}  // namespace

void bind_pipeline_blocks(nb::module_& m) {
  nb::class_<Model>(m, "PipelineOrderModel", "Stages, devices and limits. Immutable.");
  m.def("pipeline_order_model", &read_model, nb::kw_only(), nb::arg("device_of"), nb::arg("forward"),
        nb::arg("backward"), nb::arg("weight"), nb::arg("hop"), nb::arg("activation"),
        nb::arg("kept"), nb::arg("limit"), nb::arg("microbatches"),
        "A checked model of a pipeline: one number per stage, and per device of limit.");
  m.def("pipeline_order_by_rank", &order, nb::arg("model"), nb::arg("rank"), nb::kw_only(),
        nb::arg("reach_at_start"), nb::arg("reach_between"),
        nb::arg("reach_at_end"), nb::arg("lazy_weights"), nb::arg("weight_delay"),
        nb::arg("overtaking_delay"), nb::arg("longest_stage"), nb::arg("time_limit_s"), nb::arg("cancel").none(),
        "Order passes by rank within memory: passes device by device, longest stage, makespan.");
}

}  // namespace planner
