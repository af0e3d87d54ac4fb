// A training step as the kernels see it: forward operators, which may be executed again in the
// backward half, and the slots that the backward operators leave between them for that.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "order_model.hpp"

namespace planner::training {

using order::index;
using order::Rows;
using order::Span;

// Where in the schedule a storage is read: nowhere, or in slots that come later.
constexpr std::int32_t kNever = INT32_MAX;

// Forward operators are 0 .. operators - 1, ascending. Slot j comes just before backward operator
// j and ends with it; the last slot ends with the step itself, which reads the gradients. Storages
// keep their numbers; those that no forward operator writes are only counted in the static bytes.
struct TrainingModel {
  std::int32_t operators = 0;
  std::int32_t slots = 0;
  std::int32_t storages = 0;
  Rows reads, writes;        // of a forward operator: storages
  Rows readers;              // of a storage: forward operators
  Rows slot_reads;           // of a slot: storages of the forward half that its end reads
  Rows reading_slots;        // of a storage: slots, ascending
  std::vector<std::int32_t> producer;      // of a storage: forward operator or -1
  std::vector<std::int64_t> size;          // of a storage
  std::vector<char> is_output;             // of a storage
  std::vector<char> recomputable, in_forward;          // of a forward operator
  std::vector<std::int64_t> duration, workspace;       // of a forward operator
  // Tangents, results of backward operators and forward outputs: while operators are executed
  // again in a slot, while the slot's end runs (its workspace included), and between the halves.
  std::vector<std::int64_t> slot_static, end_static;
  std::int64_t middle_static = 0;
  // What a search decides about: storages of recomputable operators, forward outputs apart, and
  // operators, that the backward half can come to demand; ascending.
  std::vector<std::int32_t> storages_to_choose, operators_to_choose;
};

// What is kept: a flag a storage, and a flag a forward operator whose results are forgotten when
// the slot in which they were computed again is over.
struct Choice {
  std::vector<char> saved, repeated;
};

// planner.training.problem.TrainingProblem, array by array.
struct TrainingArrays {
  std::size_t operators;
  const bool *is_backward, *in_forward, *recomputable;
  const std::int64_t *workspace, *duration;
  order::RaggedView reads, writes;
  const std::int64_t* size;
  std::size_t storages;
  const std::int32_t *forward_outputs, *gradients, *tangents;
  std::size_t forward_outputs_size, gradients_size, tangents_size;
};

// Checks indices and numbers. Returns what is wrong, or nothing after filling `model`.
std::optional<std::string> build_model(const TrainingArrays& arrays, TrainingModel& model);

}  // namespace planner::training
