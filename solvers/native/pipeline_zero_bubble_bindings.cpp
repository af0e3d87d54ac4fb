// Python's view of zero-bubble schedules.
#include <cstdint>
#include <utility>

#include "arrays.hpp"
#include "bindings.hpp"
#include "control.hpp"
#include "pipeline_zero_bubble.hpp"

namespace planner {

namespace {

using pipeline::PipelineModel;

zero_bubble::Problem one_chunk(const PipelineModel& model) {
  for (std::int32_t s = 0; s < model.stages; ++s) {
    if (model.device_of[pipeline::at(s)] != s)
      throw nb::value_error("one stage per device is expected, in the order of the devices");
    if (model.limit[pipeline::at(s)] < model.activation[pipeline::at(s)])
      throw nb::value_error("a limit is below one activation");
  }
  return zero_bubble::Problem(model);
}

nb::tuple search(const PipelineModel& model, std::int64_t budget, std::uint64_t seed,
                 double time_limit_s, const CancelFlag* cancel) {
  const zero_bubble::Problem problem = one_chunk(model);
  zero_bubble::Found found;
  {
    const nb::gil_scoped_release release;
    Control control(time_limit_s, cancel);
    found = zero_bubble::search(problem, budget, seed, control);
  }
  pipeline::Order order;
  for (std::int32_t s = 0; s < model.stages; ++s) {
    std::int32_t next[] = {model.begin[pipeline::at(s)],
                           model.begin[pipeline::at(s)] + model.microbatches,
                           model.begin[pipeline::at(s)] + 2 * model.microbatches};
    for (const std::uint8_t kind : found.words[pipeline::at(s)]) order.push_back(next[kind]++);
  }
  return nb::make_tuple(to_numpy(std::move(order)), found.cost.worst, found.plays);
}

}  // namespace

void bind_pipeline_zero_bubble(nb::module_& m) {
  m.def("zero_bubble_search", &search, nb::arg("model"), nb::kw_only(), nb::arg("budget"),
        nb::arg("seed"), nb::arg("time_limit_s"), nb::arg("cancel").none(),
        "Zero-bubble orders of one stage per device: order, cost in ticks, and how many settings "
        "were played; `budget` is about how many passes they may have in all.");
}

}  // namespace planner
