#include "joint_beam_state.hpp"

#include <algorithm>
#include <cstddef>

namespace planner::joint {

namespace {

constexpr std::int32_t kLongestChain = 16;

}  // namespace

State first_state(const JointModel& model) {
  State state;
  const std::size_t operator_words = (index(model.operators) + 63) / 64;
  const std::size_t storage_words = (index(model.storages()) + 63) / 64;
  state.done.assign(operator_words, 0);
  state.resident.assign(storage_words, 0);
  state.copied.assign(storage_words, 0);
  for (std::int32_t s = 0; s < model.storages(); ++s) {
    if (model.has_copy[index(s)]) add(state.copied, s);
    if (model.rounded[index(s)] == 0 || !model.starters[s].empty()) continue;
    add(state.resident, s);
    state.used += model.rounded[index(s)];
  }
  state.live = state.used;
  for (std::int32_t v = 0; v < model.operators; ++v)
    if (model.predecessors[v].empty()) state.ready.push_back(v);
  return state;
}

bool has_begun(const JointModel& model, const Bits& done, std::int32_t s) {
  if (model.starters[s].empty()) return true;
  for (const std::int32_t v : model.starters[s])
    if (has(done, v)) return true;
  return false;
}

bool dies_with(const JointModel& model, const Bits& done, std::int32_t s, std::int32_t v) {
  if (model.kept[index(s)]) return false;
  for (const std::int32_t u : model.users[s])
    if (u != v && !has(done, u)) return false;
  return true;
}

bool is_ready(const JointModel& model, const Bits& done, std::int32_t v) {
  for (const std::int32_t p : model.predecessors[v])
    if (!has(done, p)) return false;
  return true;
}

bool begins_safe_chain(const JointModel& model, const State& state, std::int32_t v) {
  Bits reached = state.done;
  std::int64_t grown = 0;
  for (std::int32_t length = 0; v >= 0 && length < kLongestChain; ++length) {
    std::int64_t born = 0;
    std::int64_t freed = 0;
    std::int64_t gain = 0;
    for (const std::int32_t s : model.uses[v]) {
      const std::int64_t bytes = model.rounded[index(s)];
      const bool begun = has_begun(model, reached, s);
      if (!has(state.resident, s) && has_begun(model, state.done, s)) return false;
      if (!begun) born += bytes;
      if (!dies_with(model, reached, s, v)) continue;
      freed += bytes;
      if (begun && model.in_place[v].contains(s)) gain = std::max(gain, bytes);
    }
    if (state.used + grown + born - std::min(gain, born) > model.capacity) return false;
    grown += born - freed;
    if (grown <= 0) return true;
    add(reached, v);
    std::int32_t next = -1;
    std::int64_t least = 0;
    for (const std::int32_t w : model.successors[v]) {
      if (!is_ready(model, reached, w)) continue;
      std::int64_t growth = 0;
      for (const std::int32_t s : model.uses[w]) {
        if (!has_begun(model, reached, s)) growth += model.rounded[index(s)];
        if (dies_with(model, reached, s, w)) growth -= model.rounded[index(s)];
      }
      if (next >= 0 && growth >= least) continue;
      next = w;
      least = growth;
    }
    v = next;
  }
  return false;
}

}  // namespace planner::joint
