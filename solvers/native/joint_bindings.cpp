// Python's view of the kernels for order and residency together.
#include <optional>
#include <string>

#include "arrays.hpp"
#include "bindings.hpp"
#include "joint_model.hpp"

namespace planner {

namespace {

order::RaggedView view(const InputArray<std::int64_t>& offsets,
                       const InputArray<std::int32_t>& values) {
  return {offsets.data(), offsets.size(), values.data(), values.size()};
}

joint::JointModel make_model(
    std::int64_t operators, std::int64_t capacity, std::int64_t alignment,
    const InputArray<std::int64_t>& size, const InputArray<bool>& has_copy,
    const InputArray<bool>& kept, const InputArray<std::int64_t>& predecessor_offsets,
    const InputArray<std::int32_t>& predecessors, const InputArray<std::int64_t>& starter_offsets,
    const InputArray<std::int32_t>& starters, const InputArray<std::int64_t>& user_offsets,
    const InputArray<std::int32_t>& users, const InputArray<std::int64_t>& writer_offsets,
    const InputArray<std::int32_t>& writers, const InputArray<std::int64_t>& in_place_offsets,
    const InputArray<std::int32_t>& in_place) {
  const joint::JointArrays arrays{{operators,
                                   size.data(),
                                   size.size(),
                                   view(predecessor_offsets, predecessors),
                                   view(starter_offsets, starters),
                                   view(user_offsets, users),
                                   kept.data(),
                                   kept.size(),
                                   view(in_place_offsets, in_place)},
                                  has_copy.data(),
                                  has_copy.size(),
                                  view(writer_offsets, writers),
                                  alignment,
                                  capacity};
  joint::JointModel model;
  std::optional<std::string> problem;
  {
    const nb::gil_scoped_release release;
    problem = joint::build_model(arrays, model);
  }
  if (problem) throw nb::value_error(problem->c_str());
  return model;
}

}  // namespace

void bind_joint(nb::module_& m) {
  nb::class_<joint::JointModel>(
      m, "JointModel", "A checked problem of order and residency. Immutable; for any thread.");
  m.def("joint_model", &make_model, nb::kw_only(), nb::arg("operators"), nb::arg("capacity"),
        nb::arg("alignment"), nb::arg("size"), nb::arg("has_copy"), nb::arg("kept"),
        nb::arg("predecessor_offsets"), nb::arg("predecessors"), nb::arg("starter_offsets"),
        nb::arg("starters"), nb::arg("user_offsets"), nb::arg("users"), nb::arg("writer_offsets"),
        nb::arg("writers"), nb::arg("in_place_offsets"), nb::arg("in_place"),
        "Check the arrays of a planner.joint_problem.JointProblem; ValueError says what is wrong.");
}

}  // namespace planner
