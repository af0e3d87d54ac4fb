#include "bindings.hpp"
namespace planner {
void bind_offsets(nanobind::module_&) {}
}  // namespace planner
