// The extension module solvers._native: the cancel flag here, each kernel in its own file.
#include "bindings.hpp"

#include "control.hpp"

namespace nb = nanobind;

NB_MODULE(_native, m) {
  m.doc() = "C++ kernels of the planner: arrays in, arrays out, GIL released.";

  nb::class_<planner::CancelFlag>(m, "CancelFlag",
                                  "Asks running kernels to stop and hand back the best they have.")
      .def(nb::init<>())
      .def("set", &planner::CancelFlag::set, "Ask for a stop. Safe from any thread.")
      .def("clear", &planner::CancelFlag::clear, "Withdraw the request.")
      .def("is_set", &planner::CancelFlag::is_set, "Whether a stop was asked for.");

  planner::bind_order(m);
  planner::bind_joint(m);
  planner::bind_spill_set(m);
  planner::bind_joint_search(m);
  planner::bind_joint_heuristics(m);
  planner::bind_offsets(m);
  planner::bind_mapping(m);
  planner::bind_mapping_game(m);
  planner::bind_pipeline_ranked_order(m);
  planner::bind_pipeline(m);
  planner::bind_pipeline_suffix(m);
  planner::bind_pipeline_zero_bubble(m);
  planner::bind_training(m);
}
