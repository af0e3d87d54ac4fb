// Python names of the offset-assignment kernels.
#include <nanobind/nanobind.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>

#include <cstdint>
#include <optional>
#include <tuple>
#include <utility>
#include <vector>

#include "arrays.hpp"
#include "bindings.hpp"
#include "control.hpp"
#include "offsets_instance.hpp"
#include "offsets_pack.hpp"
#include "offsets_shared.hpp"

namespace planner {
namespace {

using Int64s = InputArray<std::int64_t>;

std::vector<std::int64_t> copied(const Int64s& values) {
  return {values.data(), values.data() + values.size()};
}

void require_same_length(const Int64s& lower, const Int64s& other) {
  if (lower.size() != other.size()) throw nb::value_error("arrays of different lengths");
}

offsets::Instance instance_from(const Int64s& lower, const Int64s& upper, const Int64s& size,
                                const Int64s& alignment, const Int64s& fixed) {
  require_same_length(lower, upper);
  require_same_length(lower, size);
  require_same_length(lower, alignment);
  if (fixed.size() != 0) require_same_length(lower, fixed);
  offsets::Requests requests{copied(lower), copied(upper), copied(size), copied(alignment),
                             copied(fixed)};
  nb::gil_scoped_release nogil;
  return offsets::make_instance(std::move(requests));
}

std::int64_t lower_bound(const Int64s& lower, const Int64s& upper, const Int64s& size,
                         const Int64s& alignment, const Int64s& fixed) {
  const offsets::Instance instance = instance_from(lower, upper, size, alignment, fixed);
  nb::gil_scoped_release nogil;
  return offsets::lower_bound(instance);
}

using Packed = std::tuple<OutputArray<std::int64_t>, std::int64_t, std::int64_t, std::string, int,
                          std::int64_t, int,
                          std::optional<std::pair<std::int32_t, std::int32_t>>>;

Packed pack(const Int64s& lower, const Int64s& upper, const Int64s& size, const Int64s& alignment,
            const Int64s& fixed, const Int64s& hint, std::int64_t capacity, bool search,
            double time_limit_s, const CancelFlag* cancel, offsets::SharedBest* shared) {
  const offsets::Instance instance = instance_from(lower, upper, size, alignment, fixed);
  if (hint.size() != 0) require_same_length(lower, hint);
  const std::vector<std::int64_t> hinted = copied(hint);
  if (shared != nullptr && shared->height() < offsets::SharedBest::kNoHeight &&
      shared->packing().offsets.size() != instance.buffers()) {
    throw nb::value_error("the shared packing is not of this problem: other number of offsets");
  }
  offsets::PackResult result;
  {
    nb::gil_scoped_release nogil;
    Control control(time_limit_s, cancel);
    result = offsets::pack(instance, hinted, capacity, search, control, shared);
  }
  return {to_numpy(std::move(result.packing.offsets)),
          result.packing.height,
          result.lower_bound,
          result.order,
          result.components,
          result.nodes,
          result.searches,
          result.clash};
}

bool offer(offsets::SharedBest& shared, const Int64s& placed, std::int64_t height) {
  offsets::Packing packing{copied(placed), height};
  const offsets::Packing known = shared.packing();
  if (known.height < offsets::SharedBest::kNoHeight &&
      known.offsets.size() != packing.offsets.size()) {
    throw nb::value_error("another number of offsets than the packing offered before");
  }
  nb::gil_scoped_release nogil;
  return shared.offer(packing);
}

std::optional<OutputArray<std::int64_t>> shared_offsets(const offsets::SharedBest& shared) {
  offsets::Packing packing = shared.packing();
  if (packing.height == offsets::SharedBest::kNoHeight) return std::nullopt;
  return to_numpy(std::move(packing.offsets));
}

}  // namespace

void bind_offsets(nb::module_& m) {
  using nb::literals::operator""_a;
  nb::class_<offsets::SharedBest>(
      m, "SharedBest", "The best packing of one problem and the best bound, shared by solvers.")
      .def(nb::init<>())
      .def("offer", &offer, "offsets"_a, "height"_a,
           "Offer a legal packing; true if it is lower than what was there.")
      .def("offer_bound", &offsets::SharedBest::offer_bound, "bound"_a,
           "Offer a proven lower bound on the height.")
      .def_prop_ro("height", &offsets::SharedBest::height,
                   "Height of the lowest packing offered; 2**62 while there is none.")
      .def_prop_ro("lower_bound", &offsets::SharedBest::lower_bound,
                   "Highest bound offered; 0 at first.")
      .def("offsets", &shared_offsets, "Offsets of the lowest packing offered, or None.");

  m.def("offsets_lower_bound", &lower_bound, "lower"_a, "upper"_a, "size"_a, "alignment"_a,
        "fixed"_a,
        "Proven bound on the height: padded bytes alive at once, less what only the top needs.");
  m.def("offsets_pack", &pack, "lower"_a, "upper"_a, "size"_a, "alignment"_a, "fixed"_a, "hint"_a,
        "capacity"_a, "search"_a, "time_limit_s"_a, "cancel"_a, "shared"_a.none() = nb::none(),
        "Offsets, height, proven bound, winning order, components, nodes and searches, and two "
        "buffers whose fixed offsets exclude each other, in place of a packing. A negative "
        "capacity asks for the lowest height; an empty hint is none, as are empty fixed offsets.");
}

}  // namespace planner
