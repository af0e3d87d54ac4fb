#include "bindings.hpp"
namespace planner {
void bind_order(nanobind::module_&) {}
}  // namespace planner
