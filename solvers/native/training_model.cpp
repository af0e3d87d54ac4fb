#include "training_model.hpp"

#include <algorithm>

namespace planner::training {

namespace {

// Both ends of a storage of the backward half, in slots; -1 is the moment between the halves.
struct StaticLife {
  std::int32_t first = kNever, last = -1;
};

std::optional<std::string> check(const TrainingArrays& arrays) {
  const auto operators = static_cast<std::int64_t>(arrays.operators);
  const auto storages = static_cast<std::int64_t>(arrays.storages);
  if (operators >= kNever || storages >= kNever) return "too many operators or storages";
  if (auto fault = order::check_ragged(arrays.reads, "reads", operators, storages)) return fault;
  if (auto fault = order::check_ragged(arrays.writes, "writes", operators, storages)) return fault;
  const auto in_range = [&](const std::int32_t* values, std::size_t count) {
    return std::all_of(values, values + count,
                       [&](std::int32_t s) { return s >= 0 && s < storages; });
  };
  if (!in_range(arrays.forward_outputs, arrays.forward_outputs_size) ||
      !in_range(arrays.gradients, arrays.gradients_size) ||
      !in_range(arrays.tangents, arrays.tangents_size)) {
    return "outputs, gradients, tangents: no such storage";
  }
  double bytes = 0.0;
  double time = 0.0;
  for (std::size_t s = 0; s < arrays.storages; ++s) {
    if (arrays.size[s] < 0) return "size: negative";
    bytes += static_cast<double>(arrays.size[s]);
  }
  for (std::size_t i = 0; i < arrays.operators; ++i) {
    if (arrays.workspace[i] < 0 || arrays.duration[i] < 0) return "an operator's number is negative";
    bytes += static_cast<double>(arrays.workspace[i]);
    time += static_cast<double>(arrays.duration[i]);
  }
  // While a stay moves, what passes a slot and the slot's own peak may both count it.
  if (2.0 * bytes > static_cast<double>(order::kMaxTotalBytes))
    return "size: the sum of sizes and workspaces exceeds 2**61 bytes";
  if (time * static_cast<double>(arrays.operators + 1) >
      static_cast<double>(order::kMaxTotalBytes)) {
    return "duration: the sum over as many repetitions as there are operators exceeds 2**62";
  }
  return std::nullopt;
}

void find_choices(TrainingModel& model) {
  std::vector<char> wanted(index(model.storages), 0);
  std::vector<char> useful(index(model.operators), 0);
  for (std::int32_t f = model.operators - 1; f >= 0; --f) {
    for (const std::int32_t s : model.writes[f]) {
      const Span readers = model.readers[s];
      wanted[index(s)] =
          !model.is_output[index(s)] &&
          (!model.reading_slots[s].empty() ||
           std::any_of(readers.begin(), readers.end(), [&](std::int32_t r) {
             return useful[index(r)] != 0;
           }));
      if (wanted[index(s)] && model.recomputable[index(f)]) useful[index(f)] = 1;
    }
  }
  for (std::int32_t f = 0; f < model.operators; ++f) {
    if (useful[index(f)]) model.operators_to_choose.push_back(f);
  }
  for (std::int32_t s = 0; s < model.storages; ++s) {
    const std::int32_t f = model.producer[index(s)];
    if (f >= 0 && wanted[index(s)] && model.recomputable[index(f)])
      model.storages_to_choose.push_back(s);
  }
}

}  // namespace

std::optional<std::string> build_model(const TrainingArrays& arrays, TrainingModel& model) {
  if (auto fault = check(arrays)) return fault;
  model.storages = static_cast<std::int32_t>(arrays.storages);
  model.size.assign(arrays.size, arrays.size + arrays.storages);
  model.producer.assign(arrays.storages, -1);
  model.is_output.assign(arrays.storages, 0);
  for (std::size_t i = 0; i < arrays.forward_outputs_size; ++i) {
    model.is_output[index(arrays.forward_outputs[i])] = 1;
  }
  std::int32_t backward = 0;
  for (std::size_t i = 0; i < arrays.operators; ++i) backward += arrays.is_backward[i] ? 1 : 0;
  model.slots = backward + 1;

  std::vector<StaticLife> lives(arrays.storages);
  for (std::size_t i = 0; i < arrays.tangents_size; ++i) {
    lives[index(arrays.tangents[i])] = {-1, -1};
  }
  std::vector<std::int64_t> end_workspace(index(model.slots), 0);
  std::vector<char> written(arrays.storages, 0);
  std::vector<std::int32_t> row;
  std::int32_t slot = 0;
  for (std::size_t i = 0; i < arrays.operators; ++i) {
    order::read_row(arrays.writes, static_cast<std::int64_t>(i), row);
    for (const std::int32_t s : row) {
      if (written[index(s)] || lives[index(s)].first < 0) return "writes: a storage written twice";
      written[index(s)] = 1;
    }
    if (!arrays.is_backward[i]) {
      for (const std::int32_t s : row) model.producer[index(s)] = model.operators;
      model.writes.add_row(row);
      order::read_row(arrays.reads, static_cast<std::int64_t>(i), row);
      for (const std::int32_t s : row) {
        if (model.producer[index(s)] < 0 || model.producer[index(s)] == model.operators) {
          return "reads: a forward operator reads what no earlier forward operator writes";
        }
      }
      model.reads.add_row(row);
      ++model.operators;
      model.recomputable.push_back(arrays.recomputable[i] ? 1 : 0);
      model.in_forward.push_back(arrays.in_forward[i] || !arrays.recomputable[i] ? 1 : 0);
      model.duration.push_back(arrays.duration[i]);
      model.workspace.push_back(arrays.workspace[i]);
      continue;
    }
    for (const std::int32_t s : row) lives[index(s)] = {slot, slot};
    order::read_row(arrays.reads, static_cast<std::int64_t>(i), row);
    std::vector<std::int32_t> from_forward;
    for (const std::int32_t s : row) {
      if (model.producer[index(s)] >= 0) {
        from_forward.push_back(s);
      } else if (lives[index(s)].first == kNever) {
        return "reads: an operator reads what nothing before it writes";
      } else {
        lives[index(s)].last = slot;
      }
    }
    model.slot_reads.add_row(from_forward);
    end_workspace[index(slot)] = arrays.workspace[i];
    ++slot;
  }
  row.clear();
  for (std::size_t i = 0; i < arrays.gradients_size; ++i) {
    const std::int32_t s = arrays.gradients[i];
    if (model.producer[index(s)] >= 0) {
      row.push_back(s);
    } else {
      lives[index(s)].last = slot;
    }
  }
  std::sort(row.begin(), row.end());
  row.erase(std::unique(row.begin(), row.end()), row.end());
  model.slot_reads.add_row(row);

  std::int64_t outputs = 0;
  for (std::size_t s = 0; s < arrays.storages; ++s) {
    if (model.is_output[s]) outputs += model.size[s];
  }
  model.middle_static = outputs;
  // A life (first, last] covers the executions in its slots; [first, last] the ends of its slots.
  std::vector<std::int64_t> in_slots(index(model.slots) + 2, 0), at_ends(index(model.slots) + 2, 0);
  for (std::size_t s = 0; s < arrays.storages; ++s) {
    const StaticLife& life = lives[s];
    if (life.first == kNever || model.is_output[s]) continue;
    if (life.first < 0) model.middle_static += model.size[s];
    in_slots[index(life.first + 1)] += model.size[s];
    in_slots[index(life.last + 1)] -= model.size[s];
    at_ends[index(std::max(life.first, 0))] += model.size[s];
    at_ends[index(life.last + 1)] -= model.size[s];
  }
  std::int64_t in_slot = outputs;
  std::int64_t at_end = outputs;
  for (std::int32_t j = 0; j < model.slots; ++j) {
    in_slot += in_slots[index(j)];
    at_end += at_ends[index(j)];
    model.slot_static.push_back(in_slot);
    model.end_static.push_back(at_end + end_workspace[index(j)]);
  }
  model.readers = order::transposed(model.reads, model.storages);
  model.reading_slots = order::transposed(model.slot_reads, model.storages);
  find_choices(model);
  return std::nullopt;
}

}  // namespace planner::training
