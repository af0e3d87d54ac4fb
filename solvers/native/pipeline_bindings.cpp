// Python's view of the kernels of pipeline schedules.
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "arrays.hpp"
#include "bindings.hpp"
#include "control.hpp"
#include "pipeline_annealing.hpp"
#include "pipeline_list.hpp"
#include "pipeline_model.hpp"
#include "pipeline_shapes.hpp"
#include "pipeline_timing.hpp"

namespace planner {

namespace {

using pipeline::Order;
using pipeline::PipelineModel;

template <class T>
std::vector<T> to_vector(const InputArray<T>& array) {
  return {array.data(), array.data() + array.size()};
}

PipelineModel make_model(const InputArray<std::int64_t>& forward,
                         const InputArray<std::int64_t>& backward,
                         const InputArray<std::int64_t>& weight,
                         const InputArray<std::int64_t>& activation,
                         const InputArray<std::int64_t>& kept, const InputArray<std::int64_t>& hop,
                         const InputArray<std::int32_t>& device_of,
                         const InputArray<std::int64_t>& limit, std::int32_t microbatches,
                         bool makespan) {
  const std::size_t stages = device_of.size();
  for (const InputArray<std::int64_t>* array :
       {&forward, &backward, &weight, &activation, &kept, &hop}) {
    if (array->size() != stages) throw nb::value_error("stages: arrays of different lengths");
    for (std::size_t i = 0; i < stages; ++i)
      if ((*array)(i) < 0 || (*array)(i) > pipeline::kNever)
        throw nb::value_error("stages: a number is out of range");
  }
  // So that no sum of ticks or bytes overflows.
  double ticks = 0.0;
  double bytes = 0.0;
  for (std::size_t i = 0; i < stages; ++i) {
    ticks += static_cast<double>(forward(i)) + static_cast<double>(backward(i)) +
             static_cast<double>(weight(i)) + 2.0 * static_cast<double>(hop(i));
    bytes += static_cast<double>(activation(i));
  }
  if (std::max(ticks, bytes) * microbatches > static_cast<double>(pipeline::kNever) / 4.0)
    throw nb::value_error("stages: a number is out of range");
  const auto devices = static_cast<std::int32_t>(limit.size());
  std::vector<char> used(limit.size(), 0);
  for (std::size_t s = 0; s < stages; ++s) {
    if (device_of(s) < 0 || device_of(s) >= devices)
      throw nb::value_error("device_of: no such device");
    used[pipeline::at(device_of(s))] = 1;
  }
  if (stages == 0 || std::find(used.begin(), used.end(), 0) != used.end())
    throw nb::value_error("device_of: a device without a stage");
  if (microbatches < 1 || static_cast<double>(stages) * microbatches > 1e8)
    throw nb::value_error("microbatches: out of range");
  return PipelineModel({to_vector(forward), to_vector(backward), to_vector(weight),
                        to_vector(activation), to_vector(kept), to_vector(hop),
                        to_vector(device_of), to_vector(limit), microbatches, makespan});
}

Order read_order(const PipelineModel& model, const InputArray<std::int32_t>& array) {
  Order order = to_vector(array);
  const std::string fault = fault_of(model, order);
  if (!fault.empty()) throw nb::value_error(("order: " + fault).c_str());
  return order;
}

// (cost, releases); cost -1 for a deadlock.
nb::tuple pipeline_cost(const PipelineModel& model, const InputArray<std::int32_t>& order) {
  const Order checked = read_order(model, order);
  pipeline::Timing timing;
  {
    const nb::gil_scoped_release release;
    timing = best_timing(model, checked);
  }
  return nb::make_tuple(timing.deadlock ? -1 : timing.cost, to_numpy(std::move(timing.start)),
                        to_numpy(std::move(timing.release)));
}

std::string pipeline_fault(const PipelineModel& model, const InputArray<std::int32_t>& order) {
  return fault_of(model, to_vector(order));
}

nb::tuple pipeline_shapes(const PipelineModel& model, double time_limit_s, const CancelFlag& cancel,
                          std::uint64_t seed, std::int64_t schedules, std::int32_t keep,
                          std::int64_t goal) {
  if (keep < 1) throw nb::value_error("keep: less than one");
  pipeline::ShapeResult result;
  {
    const nb::gil_scoped_release release;
    Control control(time_limit_s, &cancel);
    result = schedule_shapes(model, {seed, schedules, keep, goal}, control);
  }
  nb::list orders;
  for (pipeline::Scheduled& one : result.best)
    orders.append(nb::make_tuple(one.cost, to_numpy(std::move(one.order))));
  return nb::make_tuple(orders, result.schedules);
}

OutputArray<std::int32_t> pipeline_schedule(const PipelineModel& model,
                                            const InputArray<std::int64_t>& target, double wait,
                                            double weight_wait, bool make_room) {
  if (target.size() != pipeline::at(model.passes))
    throw nb::value_error("target: one a pass is needed");
  const pipeline::Targets targets{to_vector(target), wait, weight_wait, make_room, {}};
  Order order;
  {
    const nb::gil_scoped_release release;
    pipeline::ListScheduler scheduler(model);
    if (scheduler.run(targets, pipeline::kNever)) order = scheduler.order();
  }
  return to_numpy(std::move(order));
}

nb::tuple pipeline_annealing(const PipelineModel& model, const InputArray<std::int32_t>& order,
                             const InputArray<std::int64_t>& releases, double time_limit_s,
                             const CancelFlag& cancel, std::uint64_t seed, std::int64_t steps,
                             double hottest, double coldest, std::int64_t goal) {
  const Order start = read_order(model, order);
  const std::vector<std::int64_t> release_ticks = to_vector(releases);
  if (release_ticks.size() != pipeline::at(model.devices))
    throw nb::value_error("releases: one a device is needed");
  pipeline::AnnealingResult result;
  bool deadlock = false;
  {
    const nb::gil_scoped_release release;
    Control control(time_limit_s, &cancel);
    deadlock = earliest(model, start, release_ticks).deadlock;
    if (!deadlock)
      result = anneal(model, start, release_ticks, {seed, steps, hottest, coldest, goal}, control);
  }
  if (deadlock) throw nb::value_error("order: a deadlock");
  nb::dict statistics;
  statistics["steps"] = result.steps;
  statistics["evaluations"] = result.evaluations;
  statistics["accepted"] = result.accepted;
  return nb::make_tuple(to_numpy(std::move(result.order)), result.cost, statistics);
}

}  // namespace

void bind_pipeline(nb::module_& m) {
  nb::class_<PipelineModel>(m, "PipelineModel",
                            "Stages on devices and their microbatches. Pass "
                            "(3 * stage + kind) * microbatches + microbatch; kinds F, B, W.")
      .def("__init__",
           [](PipelineModel* self, const InputArray<std::int64_t>& forward,
              const InputArray<std::int64_t>& backward, const InputArray<std::int64_t>& weight,
              const InputArray<std::int64_t>& activation, const InputArray<std::int64_t>& kept,
              const InputArray<std::int64_t>& hop, const InputArray<std::int32_t>& device_of,
              const InputArray<std::int64_t>& limit, std::int32_t microbatches, bool makespan) {
             new (self) PipelineModel(make_model(forward, backward, weight, activation, kept, hop,
                                                 device_of, limit, microbatches, makespan));
           },
           nb::kw_only(), nb::arg("forward"), nb::arg("backward"), nb::arg("weight"),
           nb::arg("activation"), nb::arg("kept"), nb::arg("hop"), nb::arg("device_of"),
           nb::arg("limit"), nb::arg("microbatches"), nb::arg("makespan"))
      .def_ro("passes", &PipelineModel::passes)
      .def_ro("period", &PipelineModel::period, "Ticks of the busiest device per microbatch.");
  m.attr("PIPELINE_NO_LIMIT") = pipeline::kNever;
  m.def("pipeline_cost", &pipeline_cost, nb::arg("model"), nb::arg("order"),
        "(cost or -1 for a deadlock, starts, releases) with first passes delayed where that "
        "shortens the longest stage.");
  m.def("pipeline_fault", &pipeline_fault, nb::arg("model"), nb::arg("order"),
        "What is wrong with an order, deadlocks apart; empty if nothing.");
  m.def("pipeline_shapes", &pipeline_shapes, nb::arg("model"), nb::kw_only(),
        nb::arg("time_limit_s"), nb::arg("cancel"), nb::arg("seed") = 0, nb::arg("schedules"),
        nb::arg("keep") = 1, nb::arg("goal") = 0,
        "List schedules by targets on lines: ([(cost by earliest starts, order)], schedules).");
  m.def("pipeline_schedule", &pipeline_schedule, nb::arg("model"), nb::arg("target"),
        nb::kw_only(), nb::arg("wait") = 0.0, nb::arg("weight_wait") = 0.0,
        nb::arg("make_room") = false,
        "The list schedule by a target for each pass; empty if a limit is below one microbatch.");
  m.def("pipeline_annealing", &pipeline_annealing, nb::arg("model"), nb::arg("order"),
        nb::arg("releases"), nb::kw_only(), nb::arg("time_limit_s"), nb::arg("cancel"),
        nb::arg("seed") = 0, nb::arg("steps"), nb::arg("hottest") = 0.02,
        nb::arg("coldest") = 0.0005, nb::arg("goal") = 0,
        "Annealing from an order: (order, cost with these releases, statistics).");
}

}  // namespace planner
