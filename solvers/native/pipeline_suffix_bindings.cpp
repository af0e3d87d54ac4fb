// Python's view of the bounds of small pipelines.
#include <cstddef>
#include <cstdint>

#include "arrays.hpp"
#include "bindings.hpp"
#include "control.hpp"
#include "pipeline_suffix.hpp"

namespace planner {

namespace {

using pipeline_suffix::Bound;
using pipeline_suffix::Problem;

constexpr std::size_t kColumns = 7;

Problem read(const InputArray<std::int64_t>& stages, std::int32_t microbatches,
             std::int32_t device, bool all_ends) {
  const std::size_t devices = stages.size() / kColumns;
  if (devices == 0 || stages.size() % kColumns != 0)
    throw nb::value_error("stages: seven numbers for each are expected");
  if (devices > pipeline_suffix::kMostDevices) throw nb::value_error("too many stages");
  if (microbatches < 1 || microbatches > pipeline_suffix::kMostMicrobatches)
    throw nb::value_error("too many microbatches, or none");
  if (device < -1 || device >= static_cast<std::int32_t>(devices))
    throw nb::value_error("there is no such device");
  Problem problem{{}, microbatches, device, all_ends};
  for (std::size_t at = 0; at < stages.size(); at += kColumns) {
    const std::int64_t* row = stages.data() + at;
    for (std::size_t column = 0; column < kColumns; ++column)
      if (row[column] < (column < 3 ? 1 : 0)) throw nb::value_error("stages: a number is too small");
    if (row[5] > row[4]) throw nb::value_error("stages: kept bytes are part of the activation's");
    if (row[6] < row[4]) throw nb::value_error("stages: a limit is below one activation");
    problem.stages.push_back({row[0], row[1], row[2], row[3], row[4], row[5], row[6]});
  }
  return problem;
}

nb::tuple bound(const InputArray<std::int64_t>& stages, std::int32_t microbatches,
                std::int32_t device, bool all_ends, std::int64_t enough, std::int64_t most_nodes,
                double time_limit_s, const CancelFlag* cancel) {
  const Problem problem = read(stages, microbatches, device, all_ends);
  Bound found{};
  {
    const nb::gil_scoped_release release;
    Control control(time_limit_s, cancel);
    found = pipeline_suffix::suffix_bound(problem, enough, most_nodes, control);
  }
  nb::list words;
  for (auto& word : found.words) words.append(to_numpy(std::move(word)));
  return nb::make_tuple(found.ticks, found.nodes, words);
}

}  // namespace

void bind_pipeline_suffix(nb::module_& m) {
  m.def("pipeline_suffix_bound", &bound, nb::arg("stages"), nb::arg("microbatches"), nb::kw_only(),
        nb::arg("device"), nb::arg("all_ends"), nb::arg("enough"), nb::arg("most_nodes"), nb::arg("time_limit_s"),
        nb::arg("cancel").none(),
        "Bounds the longest stage from a device's start, or with device -1 the makespan. "
        "`stages` has rows of forward, backward and weight ticks, ticks to the next stage, "
        "activation bytes, kept bytes and the limit. Returns ticks, the nodes searched, and the kinds "
        "of pass (0 F, 1 B, 2 W) of devices in a schedule of so many ticks, if there is one, as far "
        "as they count. A bound that reaches `enough` ends the search.");
}

}  // namespace planner
