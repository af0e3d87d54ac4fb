// Python's view of the mapping kernels.
#include <algorithm>
#include <cmath>
#include <optional>
#include <string>
#include <vector>

#include "arrays.hpp"
#include "bindings.hpp"
#include "control.hpp"
#include "mapping_decoder.hpp"
#include "mapping_model.hpp"
#include "mapping_refine.hpp"
#include "mapping_results.hpp"
#include "mapping_search.hpp"
#include "mapping_state.hpp"

namespace planner {

namespace {

using mapping::MappingModel;
using mapping::MappingState;

MappingModel make_model(
    std::int64_t capacity, std::int64_t alignment, const InputArray<std::int64_t>& size,
    const InputArray<bool>& has_copy, const InputArray<std::int64_t>& copy_in,
    const InputArray<std::int64_t>& copy_out, const InputArray<std::int32_t>& access_row,
    const InputArray<std::int32_t>& access_buffer, const InputArray<bool>& writes,
    const InputArray<std::int64_t>& fast, const InputArray<std::int64_t>& slow,
    const InputArray<std::int64_t>& arithmetic, const InputArray<std::int64_t>& overhead,
    const InputArray<std::int64_t>& other_fast, const InputArray<std::int64_t>& other_slow,
    const InputArray<bool>& touches_fast, const InputArray<bool>& touches_slow,
    std::int64_t fast_latency, std::int64_t slow_latency,
    const InputArray<std::int64_t>& ready_in, const InputArray<std::int64_t>& ready_out) {
  const auto same = [](std::size_t size, std::initializer_list<std::size_t> others) {
    return std::all_of(others.begin(), others.end(), [size](std::size_t s) { return s == size; });
  };
  if (!same(size.size(), {has_copy.size(), copy_in.size(), copy_out.size()}) ||
      !same(access_row.size(), {access_buffer.size(), writes.size(), fast.size(), slow.size()}) ||
      !same(arithmetic.size(), {overhead.size(), other_fast.size(), other_slow.size(),
                                touches_fast.size(), touches_slow.size()}) ||
      !same(arithmetic.size() + 1, {ready_in.size(), ready_out.size()})) {
    throw nb::value_error("arrays of buffers, of accesses and of rows need equal lengths each");
  }
  const mapping::MappingArrays arrays{
      capacity,          alignment,         size.data(),         has_copy.data(),
      copy_in.data(),    copy_out.data(),   size.size(),         access_row.data(),
      access_buffer.data(), writes.data(),  fast.data(),         slow.data(),
      access_row.size(), arithmetic.data(), overhead.data(),     other_fast.data(),
      other_slow.data(), touches_fast.data(), touches_slow.data(), arithmetic.size(),
      fast_latency,      slow_latency,      ready_in.data(),     ready_out.data()};
  MappingModel model;
  if (const auto problem = mapping::build_model(arrays, model)) {
    throw nb::value_error(problem->c_str());
  }
  return model;
}

std::vector<double> copy_of(const InputArray<double>& values) {
  const auto is_nan = [](double value) { return std::isnan(value); };
  if (std::any_of(values.data(), values.data() + values.size(), is_nan)) {
    throw nb::value_error("keys and residuals have to be numbers");
  }
  return {values.data(), values.data() + values.size()};
}

mapping::Reach reach_of(std::int32_t window, bool fifo, bool most_gain) {
  if (window < 0) throw nb::value_error("the window has to be a number of rows, at least 0");
  return {window, fifo, most_gain};
}

void check_finite(const InputArray<double>& weights) {
  const auto is_finite = [](double weight) { return std::isfinite(weight); };
  if (!std::all_of(weights.data(), weights.data() + weights.size(), is_finite)) {
    throw nb::value_error("weights have to be finite");
  }
}

mapping::Weights weights_of(const InputArray<double>& values) {
  mapping::Weights weights{};
  if (values.size() != weights.size()) {
    throw nb::value_error("there has to be one weight per feature");
  }
  check_finite(values);
  std::copy(values.data(), values.data() + values.size(), weights.begin());
  return weights;
}

nb::tuple decode_keys(const MappingModel& model, std::int32_t static_key,
                      const InputArray<double>& keys, std::int32_t window, bool fifo,
                      bool addresses, double time_limit_s, const CancelFlag* cancel) {
  if (static_key < 0 ? keys.size() != model.buffers.size()
                     : static_key >= mapping::kStaticKeys) {
    throw nb::value_error("give one of the static keys, or -1 and one key per buffer");
  }
  const mapping::Reach reach = reach_of(window, fifo, false);
  const std::vector<double> given = copy_of(keys);
  mapping::MappingResult result;
  {
    const nb::gil_scoped_release release;
    Control control(time_limit_s, cancel);
    MappingState state(model, addresses);
    decode_buffers(
        state,
        static_key < 0 ? given : static_keys(state, mapping::kStaticKey[static_key]), reach,
        control);
    result = mapping::result_of(state);
  }
  return to_python(std::move(result));
}

nb::tuple decode_weights(const MappingModel& model, const InputArray<double>& weights,
                         const InputArray<double>& residual, std::int32_t window, bool fifo,
                         bool addresses, double time_limit_s, const CancelFlag* cancel) {
  const mapping::Weights chosen = weights_of(weights);
  if (residual.size() != 0 && residual.size() != model.accesses.size()) {
    throw nb::value_error("the residual has to be empty or to have one entry per access");
  }
  const mapping::Reach reach = reach_of(window, fifo, true);
  const std::vector<double> given = copy_of(residual);
  mapping::MappingResult result;
  {
    const nb::gil_scoped_release release;
    Control control(time_limit_s, cancel);
    MappingState state(model, addresses);
    decode_marginal(state, chosen, given, reach, control);
    result = mapping::result_of(state);
  }
  return to_python(std::move(result));
}

nb::tuple search_weights(const MappingModel& model, const InputArray<double>& weights,
                         const InputArray<std::int32_t>& windows, std::int32_t evolution,
                         std::int64_t attempts, bool fifo, bool addresses,
                         std::uint64_t seed,
                         double time_limit_s, const CancelFlag* cancel) {
  mapping::SearchSettings settings;
  settings.evolution = evolution;
  settings.attempts = attempts;
  settings.fifo = fifo;
  settings.addresses = addresses;
  constexpr std::size_t features = mapping::kFeatures;
  if (windows.size() == 0 || weights.size() != windows.size() * features) {
    throw nb::value_error("there has to be one row of weights per window, and at least one");
  }
  check_finite(weights);
  for (std::size_t k = 0; k < windows.size(); ++k) {
    mapping::Start start;
    std::copy_n(weights.data() + k * features, features, start.weights.begin());
    start.window = reach_of(windows.data()[k], fifo, true).window;
    settings.starts.push_back(start);
  }
  mapping::MappingResult result;
  {
    const nb::gil_scoped_release release;
    Control control(time_limit_s, cancel);
    mapping::Random random(seed);
    result = mapping::search(model, settings, random, control);
  }
  return to_python(std::move(result));
}

nb::tuple refine_residencies(const MappingModel& model, const InputArray<std::int64_t>& residencies,
                             const InputArray<double>& weights, std::int32_t window, bool fifo,
                             bool addresses, std::int64_t attempts,
                             std::uint64_t seed, double time_limit_s, const CancelFlag* cancel) {
  const mapping::Weights chosen = weights_of(weights);
  const mapping::Reach reach = reach_of(window, fifo, true);
  const std::vector<std::int64_t> known(residencies.data(),
                                        residencies.data() + residencies.size());
  if (const auto problem = mapping::check_residencies(model, known, addresses)) {
    throw nb::value_error(problem->c_str());
  }
  mapping::MappingResult result;
  {
    const nb::gil_scoped_release release;
    Control control(time_limit_s, cancel);
    MappingState state(model, addresses);
    state.adopt(known, fifo);
    mapping::Random random(seed);
    result = mapping::refine(state, {chosen, attempts}, reach, random, control);
  }
  return to_python(std::move(result));
}

nb::tuple search_keys(const MappingModel& model, std::int32_t decodes, std::int32_t window,
                      bool fifo, std::uint64_t seed, double time_limit_s,
                      const CancelFlag* cancel) {
  const mapping::Reach reach = reach_of(window, fifo, false);
  mapping::MappingResult result;
  {
    const nb::gil_scoped_release release;
    Control control(time_limit_s, cancel);
    mapping::Random random(seed);
    result = mapping::evolve_keys(model, decodes, reach, random, control);
  }
  return to_python(std::move(result));
}

}  // namespace

nb::tuple to_python(mapping::MappingResult result) {
  return nb::make_tuple(to_numpy(std::move(result.residencies)), result.latency,
                        result.attempts);
}

void bind_mapping(nb::module_& m) {
  nb::class_<MappingModel>(m, "MappingModel",
                           "A checked mapping problem. Immutable; for any thread.");
  m.attr("MAPPING_FEATURES") = mapping::kFeatures;
  m.attr("MAPPING_STATIC_KEYS") = mapping::kStaticKeys;
  m.def("mapping_model", &make_model, nb::kw_only(), nb::arg("capacity"), nb::arg("alignment"),
        nb::arg("size"), nb::arg("has_copy"), nb::arg("copy_in"), nb::arg("copy_out"),
        nb::arg("access_row"), nb::arg("access_buffer"), nb::arg("writes"), nb::arg("fast"),
        nb::arg("slow"), nb::arg("arithmetic"), nb::arg("overhead"), nb::arg("other_fast"),
        nb::arg("other_slow"), nb::arg("touches_fast"), nb::arg("touches_slow"),
        nb::arg("fast_latency"), nb::arg("slow_latency"), nb::arg("ready_in"),
        nb::arg("ready_out"),
        "Check the arrays of a planner.mapping_problem.MappingProblem; ValueError says what is "
        "wrong.");
  m.def("mapping_decode_keys", &decode_keys, nb::arg("model"), nb::kw_only(),
        nb::arg("static_key"), nb::arg("keys"), nb::arg("window"), nb::arg("fifo"),
        nb::arg("addresses"), nb::arg("time_limit_s"), nb::arg("cancel").none(),
        "Place whole buffers in decreasing order of static key or keys. Returns residencies "
        "(six numbers each), latency in ticks, attempts.");
  m.def("mapping_decode_weights", &decode_weights, nb::arg("model"), nb::kw_only(),
        nb::arg("weights"), nb::arg("residual"), nb::arg("window"), nb::arg("fifo"),
        nb::arg("addresses"), nb::arg("time_limit_s"), nb::arg("cancel").none(),
        "Place residencies in decreasing order of current gain and weighted features. Returns "
        "residencies (six numbers each), latency in ticks, attempts.");
  m.def("mapping_search", &search_weights, nb::arg("model"), nb::kw_only(), nb::arg("weights"),
        nb::arg("windows"), nb::arg("evolution"), nb::arg("attempts"), nb::arg("fifo"),
        nb::arg("addresses"), nb::arg("seed"), nb::arg("time_limit_s"),
        nb::arg("cancel").none(),
        "Decode by each row of weights, try others, then ruin and recreate from the best until all "
        "attempts are used. Returns residencies (six numbers each), latency in ticks, attempts.");
  m.def("mapping_refine", &refine_residencies, nb::arg("model"), nb::kw_only(),
        nb::arg("residencies"), nb::arg("weights"), nb::arg("window"), nb::arg("fifo"),
        nb::arg("addresses"), nb::arg("attempts"), nb::arg("seed"),
        nb::arg("time_limit_s"), nb::arg("cancel").none(),
        "Take a solution over, less what has no bytes or no room, ruin and recreate. Returns residencies (six numbers each), "
        "latency in ticks, attempts.");
  m.def("mapping_evolve_keys", &search_keys, nb::arg("model"), nb::kw_only(), nb::arg("decodes"),
        nb::arg("window"), nb::arg("fifo"), nb::arg("seed"), nb::arg("time_limit_s"),
        nb::arg("cancel").none(),
        "Evolve one key per buffer from the best static key. Returns residencies (six numbers "
        "each), latency in ticks, attempts.");
}

}  // namespace planner
