// Python's view of the kernels of training steps.
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "arrays.hpp"
#include "bindings.hpp"
#include "control.hpp"
#include "training_greedy.hpp"
#include "training_model.hpp"
#include "training_search.hpp"
#include "training_state.hpp"

namespace planner {

namespace {

using order::index;
using training::Choice;
using training::TrainingModel;
using training::TrainingState;
using Indices = InputArray<std::int32_t>;

order::RaggedView view(const InputArray<std::int64_t>& offsets, const Indices& values) {
  return {offsets.data(), offsets.size(), values.data(), values.size()};
}

// The model, and the numbers that operators have in the problem and in the model.
struct TrainingStep {
  TrainingModel model;
  std::vector<std::int32_t> operator_of, forward_of;
};

TrainingStep make_step(const InputArray<bool>& is_backward, const InputArray<bool>& in_forward,
                       const InputArray<bool>& recomputable,
                       const InputArray<std::int64_t>& read_offsets, const Indices& reads,
                       const InputArray<std::int64_t>& write_offsets, const Indices& writes,
                       const InputArray<std::int64_t>& workspace,
                       const InputArray<std::int64_t>& duration,
                       const InputArray<std::int64_t>& size, const Indices& forward_outputs,
                       const Indices& gradients, const Indices& tangents) {
  const std::size_t operators = is_backward.size();
  if (in_forward.size() != operators || recomputable.size() != operators ||
      workspace.size() != operators || duration.size() != operators) {
    throw nb::value_error("operators: arrays of different lengths");
  }
  const training::TrainingArrays arrays{
      operators, is_backward.data(), in_forward.data(), recomputable.data(), workspace.data(),
      duration.data(), view(read_offsets, reads), view(write_offsets, writes), size.data(),
      size.size(), forward_outputs.data(), gradients.data(), tangents.data(),
      forward_outputs.size(), gradients.size(), tangents.size()};
  TrainingStep step;
  std::optional<std::string> fault;
  {
    const nb::gil_scoped_release release;
    fault = training::build_model(arrays, step.model);
  }
  if (fault) throw nb::value_error(fault->c_str());
  for (std::size_t i = 0; i < operators; ++i) {
    step.forward_of.push_back(is_backward(i) ? -1
                                             : static_cast<std::int32_t>(step.operator_of.size()));
    if (!is_backward(i)) step.operator_of.push_back(static_cast<std::int32_t>(i));
  }
  return step;
}

Choice read_choice(const TrainingStep& step, const Indices& saved, const Indices& repeated) {
  const TrainingModel& model = step.model;
  Choice choice;
  choice.saved.assign(index(model.storages), 0);
  choice.repeated.assign(index(model.operators), 0);
  for (std::size_t i = 0; i < saved.size(); ++i) {
    const std::int32_t s = saved(i);
    if (s < 0 || s >= model.storages || model.producer[index(s)] < 0)
      throw nb::value_error("saved: no such storage of the forward half");
    if (!model.is_output[index(s)]) choice.saved[index(s)] = 1;
  }
  for (std::size_t i = 0; i < repeated.size(); ++i) {
    const std::int32_t o = repeated(i);
    const auto operators = static_cast<std::int32_t>(step.forward_of.size());
    if (o < 0 || o >= operators || step.forward_of[index(o)] < 0)
      throw nb::value_error("repeated: no such forward operator");
    choice.repeated[index(step.forward_of[index(o)])] = 1;
  }
  return choice;
}

std::int64_t checked(const char* name, std::int64_t bytes) {
  if (bytes < 0 || bytes > order::kMaxTotalBytes)
    throw nb::value_error((std::string(name) + ": not in [0, 2**62] bytes").c_str());
  return bytes;
}

nb::tuple to_arrays(const TrainingStep& step, const Choice& choice) {
  std::vector<std::int32_t> saved, repeated;
  for (std::int32_t s = 0; s < step.model.storages; ++s) {
    if (choice.saved[index(s)]) saved.push_back(s);
  }
  for (std::int32_t f = 0; f < step.model.operators; ++f) {
    if (choice.repeated[index(f)]) repeated.push_back(step.operator_of[index(f)]);
  }
  return nb::make_tuple(to_numpy(std::move(saved)), to_numpy(std::move(repeated)));
}

// A choice that changes step by step, with the model that it refers to.
class TrainingEvaluator {
 public:
  explicit TrainingEvaluator(const TrainingStep& step) : step_(step), state_(step_.model) {
    state_.assign(state_.choice());
  }
  TrainingEvaluator(const TrainingEvaluator&) = delete;
  TrainingEvaluator& operator=(const TrainingEvaluator&) = delete;

  nb::tuple evaluate(const Indices& saved, const Indices& repeated) {
    const Choice choice = read_choice(step_, saved, repeated);
    {
      const nb::gil_scoped_release release;
      state_.assign(choice);
    }
    return numbers();
  }

  nb::tuple flip(const Indices& saved, const Indices& repeated) {
    const Choice flips = read_choice(step_, saved, repeated);
    for (std::int32_t s = 0; s < step_.model.storages; ++s) {
      if (flips.saved[index(s)]) state_.flip_saved(s);
    }
    for (std::int32_t f = 0; f < step_.model.operators; ++f) {
      if (flips.repeated[index(f)]) state_.flip_repeated(f);
    }
    state_.update();
    return numbers();
  }

  // Seconds for so many single flips there and back, for benchmarks.
  double time_flips(std::int64_t flips) {
    const nb::gil_scoped_release release;
    const std::vector<std::int32_t>& storages = step_.model.storages_to_choose;
    if (storages.empty()) return 0.0;
    const Control clock(0.0, nullptr);
    for (std::int64_t i = 0; i < flips; ++i) {
      const auto which = static_cast<std::size_t>(i / 2 * 7919) % storages.size();
      state_.flip_saved(storages[which]);
      state_.update();
    }
    return clock.elapsed_s();
  }

 private:
  nb::tuple numbers() const { return nb::make_tuple(state_.peak(), state_.recompute()); }

  TrainingStep step_;
  TrainingState state_;
};

// The search with the model that it refers to.
class TrainingWalks {
 public:
  TrainingWalks(const TrainingStep& step, std::int64_t greatest_peak)
      : step_(step), search_(step_.model, checked("greatest_peak", greatest_peak)) {}
  TrainingWalks(const TrainingWalks&) = delete;
  TrainingWalks& operator=(const TrainingWalks&) = delete;

  void offer(const Indices& saved, const Indices& repeated) {
    const Choice choice = read_choice(step_, saved, repeated);
    const nb::gil_scoped_release release;
    search_.offer(choice);
  }

  void walk(std::int64_t target, std::int64_t evaluations, std::uint64_t seed, double price,
            bool whole_profile, double hottest, double coldest, double time_limit_s,
            const CancelFlag* cancel) {
    checked("target", target);
    const nb::gil_scoped_release release;
    Control control(time_limit_s, cancel);
    search_.walk({seed, target, evaluations, price, whole_profile, hottest, coldest}, control);
  }

  nb::list frontier() const {
    nb::list found;
    for (const training::Found* one : search_.frontier()) {
      found.append(nb::make_tuple(to_arrays(step_, one->choice), one->peak, one->recompute));
    }
    return found;
  }

  std::vector<std::int64_t> figures() const {
    std::vector<std::int64_t> numbers;
    for (const training::Found* one : search_.frontier()) {
      numbers.push_back(one->peak);
      numbers.push_back(one->recompute);
    }
    return numbers;
  }

  std::int64_t evaluations() const { return search_.evaluations(); }

 private:
  TrainingStep step_;
  training::TrainingSearch search_;
};

nb::tuple training_greedy_drop(const TrainingStep& step, const Indices& saved,
                               std::int64_t target, double time_limit_s, const CancelFlag* cancel) {
  Choice choice = read_choice(step, saved, Indices());
  {
    const nb::gil_scoped_release release;
    Control control(time_limit_s, cancel);
    choice = training::drop_greedily(step.model, choice, target, control);
  }
  return to_arrays(step, choice);
}

}  // namespace

void bind_training(nb::module_& m) {
  nb::class_<TrainingStep>(m, "TrainingModel", "A checked training step. Immutable.")
      .def(
          "__init__",
          [](TrainingStep* self, const InputArray<bool>& is_backward,
             const InputArray<bool>& in_forward, const InputArray<bool>& recomputable,
             const InputArray<std::int64_t>& read_offsets, const Indices& reads,
             const InputArray<std::int64_t>& write_offsets, const Indices& writes,
             const InputArray<std::int64_t>& workspace, const InputArray<std::int64_t>& duration,
             const InputArray<std::int64_t>& size, const Indices& forward_outputs,
             const Indices& gradients, const Indices& tangents) {
            new (self) TrainingStep(make_step(is_backward, in_forward, recomputable, read_offsets,
                                              reads, write_offsets, writes, workspace, duration,
                                              size, forward_outputs, gradients, tangents));
          },
          nb::kw_only(), nb::arg("is_backward"), nb::arg("in_forward"), nb::arg("recomputable"),
          nb::arg("read_offsets"), nb::arg("reads"), nb::arg("write_offsets"), nb::arg("writes"),
          nb::arg("workspace"), nb::arg("duration"), nb::arg("size"), nb::arg("forward_outputs"),
          nb::arg("gradients"), nb::arg("tangents"));
  nb::class_<TrainingEvaluator>(m, "TrainingEvaluator", "A choice that changes step by step.")
      .def(nb::init<const TrainingStep&>(), nb::arg("model"))
      .def("evaluate", &TrainingEvaluator::evaluate, nb::arg("saved"), nb::arg("repeated"),
           "(peak bytes, recompute picoseconds) of saved storages and repeated operators.")
      .def("flip", &TrainingEvaluator::flip, nb::arg("saved"), nb::arg("repeated"),
           "The same after changing whether these are saved and repeated.")
      .def("time_flips", &TrainingEvaluator::time_flips, nb::arg("flips"),
           "Seconds for so many flips of single storages.");
  m.def("training_greedy_drop", &training_greedy_drop, nb::arg("model"), nb::arg("saved"),
        nb::kw_only(), nb::arg("target"), nb::arg("time_limit_s"), nb::arg("cancel").none(),
        "Drop saved storages while the peak is above the target: (saved, repeated).");
  nb::class_<TrainingWalks>(m, "TrainingSearch",
                            "Annealing that remembers the cheapest choice seen at each peak.")
      .def(nb::init<const TrainingStep&, std::int64_t>(), nb::arg("model"),
           nb::arg("greatest_peak"))
      .def("offer", &TrainingWalks::offer, nb::arg("saved"), nb::arg("repeated"),
           "Remember a choice.")
      .def("walk", &TrainingWalks::walk, nb::kw_only(), nb::arg("target"), nb::arg("evaluations"),
           nb::arg("seed"), nb::arg("price"), nb::arg("whole_profile"), nb::arg("hottest"),
           nb::arg("coldest"), nb::arg("time_limit_s"), nb::arg("cancel").none(),
           "Anneal recomputation plus priced bytes above a target.")
      .def("frontier", &TrainingWalks::frontier,
           "[((saved, repeated), peak, recompute)] by falling peak and growing recomputation.")
      .def("figures", &TrainingWalks::figures, "(peak, recompute) of the frontier, in one row.")
      .def_prop_ro("evaluations", &TrainingWalks::evaluations, "Moves tried.");
}

}  // namespace planner
