// Python names of the offset-assignment kernels.
#include <nanobind/nanobind.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <optional>
#include <tuple>
#include <utility>
#include <vector>

#include "arrays.hpp"
#include "bindings.hpp"
#include "control.hpp"
#include "offsets_instance.hpp"
#include "offsets_overlap.hpp"
#include "offsets_pack.hpp"
#include "offsets_shared.hpp"

namespace planner {
namespace {

using Int64s = InputArray<std::int64_t>;

std::vector<std::int64_t> copied(const Int64s& values) {
  return {values.data(), values.data() + values.size()};
}

void require_same_length(const Int64s& one, const Int64s& other) {
  if (one.size() != other.size()) throw nb::value_error("arrays of different lengths");
}

// Where each of `count` rows of a ragged array begins, and the last one ends.
std::vector<std::size_t> checked_rows(const Int64s& rows, std::size_t count, std::size_t values) {
  const std::int64_t* end = rows.data() + rows.size();
  if (rows.size() != count + 1 || rows.data()[0] != 0 ||
      rows.data()[count] != static_cast<std::int64_t>(values) ||
      std::adjacent_find(rows.data(), end, std::greater<>()) != end) {
    throw nb::value_error("rows do not match their values");
  }
  return {rows.data(), end};
}

std::int32_t checked_index(std::int64_t index, std::size_t count) {
  if (index < 0 || index >= static_cast<std::int64_t>(count)) {
    throw nb::value_error("a rule names no buffer");
  }
  return static_cast<std::int32_t>(index);
}

offsets::Instance make_instance(const Int64s& lower, const Int64s& upper, const Int64s& size,
                                const Int64s& alignment, const Int64s& fixed,
                                const Int64s& use_rows, const Int64s& use_lower,
                                const Int64s& use_upper, const Int64s& use_begin,
                                const Int64s& use_end, const Int64s& rule_first,
                                const Int64s& rule_second, const Int64s& rule_shared,
                                const Int64s& rule_rows, const Int64s& forbidden_low,
                                const Int64s& forbidden_high) {
  for (const Int64s* other : {&upper, &size, &alignment}) require_same_length(lower, *other);
  offsets::Requests requests;
  requests.lower = copied(lower);
  requests.upper = copied(upper);
  requests.size = copied(size);
  requests.alignment = copied(alignment);
  if (fixed.size() != 0) {
    require_same_length(lower, fixed);
    requests.fixed = copied(fixed);
  }
  if (use_rows.size() != 0) {
    for (const Int64s* other : {&use_upper, &use_begin, &use_end}) {
      require_same_length(use_lower, *other);
    }
    requests.use_row = checked_rows(use_rows, lower.size(), use_lower.size());
    for (std::size_t k = 0; k < use_lower.size(); ++k) {
      requests.use.push_back(
          {use_lower.data()[k], use_upper.data()[k], use_begin.data()[k], use_end.data()[k]});
    }
  }
  if (rule_first.size() != 0) {
    require_same_length(rule_first, rule_second);
    require_same_length(rule_first, rule_shared);
    require_same_length(forbidden_low, forbidden_high);
    const std::vector<std::size_t> rows =
        checked_rows(rule_rows, rule_first.size(), forbidden_low.size());
    for (std::size_t r = 0; r < rule_first.size(); ++r) {
      offsets::PairRule rule{checked_index(rule_first.data()[r], lower.size()),
                             checked_index(rule_second.data()[r], lower.size()),
                             {},
                             rule_shared.data()[r]};
      for (std::size_t k = rows[r]; k < rows[r + 1]; ++k) {
        rule.forbidden.push_back({forbidden_low.data()[k], forbidden_high.data()[k]});
      }
      requests.rules.push_back(std::move(rule));
    }
  }
  nb::gil_scoped_release nogil;
  return offsets::make_instance(std::move(requests));
}

std::int64_t lower_bound(const offsets::Instance& instance) {
  nb::gil_scoped_release nogil;
  return offsets::lower_bound(instance);
}

using Packed = std::tuple<OutputArray<std::int64_t>, std::int64_t, std::int64_t, std::string, int,
                          std::int64_t, int,
                          std::optional<std::pair<std::int32_t, std::int32_t>>>;

Packed pack(const offsets::Instance& instance, const Int64s& hint, std::int64_t capacity,
            bool search, double time_limit_s, const CancelFlag* cancel,
            offsets::SharedBest* shared, std::uint64_t call_limit) {
  if (hint.size() != 0 && hint.size() != instance.buffers()) {
    throw nb::value_error("a hint for another number of buffers");
  }
  const std::vector<std::int64_t> hinted = copied(hint);
  if (shared != nullptr && shared->height() < offsets::SharedBest::kNoHeight &&
      shared->packing().offsets.size() != instance.buffers()) {
    throw nb::value_error("the shared packing is not of this problem: other number of offsets");
  }
  offsets::PackResult result;
  {
    nb::gil_scoped_release nogil;
    Control control(time_limit_s, cancel,
                    call_limit == 0 ? Control::kUnlimited : call_limit);
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

using Squeezed = std::tuple<OutputArray<std::int64_t>, std::int64_t, std::int64_t>;

Squeezed squeeze(const offsets::Instance& instance, const Int64s& start, std::int64_t goal,
                 std::uint64_t seed, double time_limit_s, const CancelFlag* cancel,
                 offsets::SharedBest* shared) {
  if (start.size() != instance.buffers()) {
    throw nb::value_error("a start for another number of buffers");
  }
  offsets::Packing packing{copied(start), 0};
  nb::gil_scoped_release nogil;
  Control control(time_limit_s, cancel);
  packing.height = offsets::packing_height(instance, packing.offsets);
  offsets::SqueezeResult result =
      offsets::squeeze(instance, std::move(packing), goal, seed, control, shared);
  nb::gil_scoped_acquire gil;
  return {to_numpy(std::move(result.packing.offsets)), result.packing.height, result.steps};
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

  nb::class_<offsets::Instance>(m, "OffsetInstance");
  m.def("offset_instance", &make_instance, nb::kw_only(), "lower"_a, "upper"_a, "size"_a,
        "alignment"_a, "fixed"_a, "use_rows"_a, "use_lower"_a, "use_upper"_a, "use_begin"_a,
        "use_end"_a, "rule_first"_a, "rule_second"_a, "rule_shared"_a, "rule_rows"_a,
        "forbidden_low"_a, "forbidden_high"_a,
        "Takes the arrays of an offset problem that is checked; empty ones are none.");
  m.def("offsets_lower_bound", &lower_bound, "instance"_a,
        "Proven bound on the height: padded bytes in use at once, less what only the top needs.");
  m.def("offsets_pack", &pack, "instance"_a, "hint"_a, "capacity"_a, "search"_a, "time_limit_s"_a,
        "cancel"_a, "shared"_a.none() = nb::none(), "call_limit"_a = 0,
        "Offsets, height, proven bound, winning order, components, nodes and searches, and two "
        "buffers whose fixed offsets exclude each other, in place of a packing. A negative "
        "capacity asks for the lowest height; an empty hint is none; a positive call limit ends "
        "the search after as many steps on every machine.");
  m.def("offsets_squeeze", &squeeze, "instance"_a, "start_offsets"_a, "goal"_a, "seed"_a,
        "time_limit_s"_a, "cancel"_a, "shared"_a.none() = nb::none(),
        "Offsets, height and steps of guided local search on overlaps, from a legal packing down "
        "to the goal or the bound.");
}

}  // namespace planner
