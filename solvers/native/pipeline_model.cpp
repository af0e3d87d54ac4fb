#include "pipeline_model.hpp"

#include <algorithm>
#include <utility>

namespace planner::pipeline {

PipelineModel::PipelineModel(PipelineCosts given)
    : stages(static_cast<std::int32_t>(given.device_of.size())),
      devices(static_cast<std::int32_t>(given.limit.size())),
      microbatches(given.microbatches),
      letters(3 * stages),
      passes(letters * microbatches),
      makespan(given.makespan),
      device_of(std::move(given.device_of)),
      stages_of(at(devices)),
      limit(std::move(given.limit)),
      activation(std::move(given.activation)),
      kept(std::move(given.kept)),
      hop(std::move(given.hop)) {
  for (std::int32_t s = 0; s < stages; ++s) {
    row.push_back(static_cast<std::int32_t>(stages_of[at(device_of[at(s)])].size()));
    stages_of[at(device_of[at(s)])].push_back(s);
  }
  const std::int32_t step = 3 * microbatches;
  for (std::int32_t s = 0; s < stages; ++s) {
    const std::int64_t f = given.forward[at(s)];
    const std::int64_t b = given.backward[at(s)];
    const std::int64_t w = given.weight[at(s)];
    ticks.insert(ticks.end(), {f, b, w});
    memory.insert(memory.end(),
                  {activation[at(s)], kept[at(s)] - activation[at(s)], -kept[at(s)]});
    const bool first = s == 0;
    const bool last = s == stages - 1;
    const std::int64_t before = first ? 0 : hop[at(s - 1)];
    const std::int64_t after = last ? 0 : hop[at(s)];
    input.insert(input.end(), {first ? 0 : -step, last ? 0 : step, 0});
    input_lag.insert(input_lag.end(), {first ? 0 : given.forward[at(s - 1)] + before,
                                       last ? 0 : given.backward[at(s + 1)] + after, 0});
    output.insert(output.end(), {last ? 0 : step, first ? 0 : -step, 0});
    output_lag.insert(output_lag.end(), {f + after, b + before, 0});
    output_device.insert(output_device.end(), {last ? -1 : device_of[at(s + 1)],
                                               first ? -1 : device_of[at(s - 1)], -1});
    const std::vector<std::int32_t>& mine = stages_of[at(device_of[at(s)])];
    const std::int32_t q = row[at(s)];
    const std::int32_t m = microbatches;
    std::vector<std::int32_t> before_f, after_f{m}, before_b{-m}, after_b{m};
    if (q > 0) {
      const std::int32_t distance = (mine[at(q - 1)] - s) * step;
      before_f.push_back(distance);
      after_b.push_back(distance);
    }
    if (at(q) + 1 < mine.size()) {
      const std::int32_t distance = (mine[at(q + 1)] - s) * step;
      after_f.push_back(distance);
      before_b.push_back(distance);
    }
    earlier.insert(earlier.end(), {before_f, before_b, {-m}});
    later.insert(later.end(), {after_f, after_b, {}});
  }
  for (std::int32_t letter = 0; letter < letters; ++letter)
    letter_of.insert(letter_of.end(), at(microbatches), letter);
  begin.push_back(0);
  for (const std::vector<std::int32_t>& mine : stages_of) {
    std::int64_t busy = 0;
    for (const std::int32_t s : mine)
      for (std::int32_t kind = 0; kind < 3; ++kind) busy += ticks[at(3 * s + kind)];
    period = std::max(period, busy);
    work.push_back(busy * microbatches);
    begin.push_back(begin.back() + static_cast<std::int32_t>(mine.size()) * 3 * microbatches);
  }
}

std::string fault_of(const PipelineModel& model, const Order& order) {
  if (order.size() != at(model.passes)) return "not every pass once";
  std::vector<std::int32_t> position(at(model.passes), -1);
  for (std::int32_t k = 0; k < model.passes; ++k) {
    const std::int32_t pass = order[at(k)];
    if (pass < 0 || pass >= model.passes || position[at(pass)] >= 0) return "not every pass once";
    position[at(pass)] = k;
  }
  for (std::int32_t d = 0; d < model.devices; ++d) {
    std::int64_t held = 0;
    for (std::int32_t k = model.begin[at(d)]; k < model.begin[at(d + 1)]; ++k) {
      const std::int32_t pass = order[at(k)];
      const std::int32_t letter = model.letter_of[at(pass)];
      if (model.device_of_letter(letter) != d) return "a pass on a device that lacks its stage";
      if (model.microbatch_of(pass) > 0 && position[at(pass - 1)] > k)
        return "microbatches out of order";
      for (const std::int32_t distance : model.earlier[at(letter)])
        if (position[at(pass + distance)] > k) return "a pass before one it needs";
      held += model.memory[at(letter)];
      if (held > model.limit[at(d)]) return "more memory than the limit";
    }
  }
  return "";
}

}  // namespace planner::pipeline
