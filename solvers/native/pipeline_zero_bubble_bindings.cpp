// Python's view of zero-bubble schedules.
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "arrays.hpp"
#include "bindings.hpp"
#include "control.hpp"
#include "pipeline_zero_bubble.hpp"

namespace planner {

namespace {

using zero_bubble::Problem;
using zero_bubble::Ticks;

constexpr std::size_t kColumns = 7;

Problem read(const InputArray<std::int64_t>& stages, std::int32_t microbatches, bool makespan) {
  if (stages.size() == 0 || stages.size() % kColumns != 0)
    throw nb::value_error("stages: seven numbers for each are expected");
  if (microbatches < 1) throw nb::value_error("there must be a microbatch");
  Problem problem{{}, microbatches, makespan};
  for (std::size_t at = 0; at < stages.size(); at += kColumns) {
    const std::int64_t* row = stages.data() + at;
    for (std::size_t column = 0; column < kColumns; ++column)
      if (row[column] < 0) throw nb::value_error("stages: a number is negative");
    if (row[5] > row[4]) throw nb::value_error("stages: kept bytes are part of the activation's");
    if (row[6] < row[4]) throw nb::value_error("stages: a limit is below one activation");
    problem.stages.push_back({row[0], row[1], row[2], row[3], row[4], row[5], row[6]});
  }
  return problem;
}

nb::tuple search(const InputArray<std::int64_t>& stages, std::int32_t microbatches, bool makespan,
                 std::int64_t budget, std::uint64_t seed, double time_limit_s,
                 const CancelFlag* cancel) {
  const Problem problem = read(stages, microbatches, makespan);
  zero_bubble::Found found;
  {
    const nb::gil_scoped_release release;
    Control control(time_limit_s, cancel);
    found = zero_bubble::search(problem, budget, seed, control);
  }
  std::vector<std::uint8_t> kinds;
  for (const auto& word : found.words) kinds.insert(kinds.end(), word.begin(), word.end());
  return nb::make_tuple(to_numpy(std::move(kinds)), found.cost.worst, found.plays);
}

}  // namespace

void bind_pipeline_zero_bubble(nb::module_& m) {
  m.def("zero_bubble_search", &search, nb::arg("stages"), nb::arg("microbatches"), nb::kw_only(),
        nb::arg("makespan"), nb::arg("budget"), nb::arg("seed"), nb::arg("time_limit_s"),
        nb::arg("cancel").none(),
        "Zero-bubble orders of one stage per device. `stages` has rows of forward, backward and "
        "weight ticks, ticks to the next stage, activation bytes, kept bytes and the limit. "
        "Returns the kinds of pass (0 F, 1 B, 2 W) of device after device, the cost in ticks and "
        "how many settings were played; `budget` is about how many passes they may have in all.");
}

}  // namespace planner
