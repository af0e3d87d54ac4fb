// What bindings.cpp assembles: one function per kernel file.
#pragma once

#include <nanobind/nanobind.h>

namespace planner {

void bind_order(nanobind::module_& m);
void bind_joint(nanobind::module_& m);
void bind_spill_set(nanobind::module_& m);
void bind_joint_search(nanobind::module_& m);
void bind_joint_heuristics(nanobind::module_& m);
void bind_offsets(nanobind::module_& m);
void bind_mapping(nanobind::module_& m);
void bind_mapping_game(nanobind::module_& m);
void bind_pipeline_ranked_order(nanobind::module_& m);
void bind_pipeline(nanobind::module_& m);
void bind_pipeline_suffix(nanobind::module_& m);
void bind_pipeline_zero_bubble(nanobind::module_& m);
void bind_training(nanobind::module_& m);

}  // namespace planner
