#include "joint_beam.hpp"

#include <algorithm>
#include <cstddef>
#include <limits>
#include <tuple>
#include <unordered_map>
#include <utility>

#include "joint_beam_state.hpp"
#include "order_bits.hpp"

namespace planner::joint {

namespace {

// States with the same operators done that a beam keeps.
constexpr std::size_t kMostAlike = 8;
// Complete orders of a beam that are looked at closely.
constexpr std::size_t kMostComplete = 16;
// States of one beam, all layers together: 8 bytes each.
constexpr std::int64_t kMostTraces = 1 << 24;

// How promising a state is: its traffic, the reads it cannot avoid, and this much per byte alive
// beyond this share of the capacity.
struct Ranking {
  double weight;
  double share;
  bool chains;  // run safe chains at once: narrows the search, and may miss the only way
};
constexpr Ranking kRankings[] = {{1000.0, 0.0, true},
                                 {20.0, 1.0, true},
                                 {1.0, 0.5, true},
                                 {0.1, 0.0, true},
                                 {20.0, 0.0, false}};

struct Candidate {
  double key;
  std::int32_t parent, chosen;
  std::int64_t due, live;
  std::size_t evicted_begin, evicted_end;
};

struct Trace {
  std::int32_t parent, chosen;
};

class Beam {
 public:
  explicit Beam(const JointModel& model)
      : model_(model),
        position_(index(model.operators)),
        zobrist_(index(model.operators)) {
    std::uint64_t x = 0;
    for (std::uint64_t& key : zobrist_) {  // splitmix64
      std::uint64_t z = (x += 0x9E3779B97F4A7C15ull);
      z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
      z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
      key = z ^ (z >> 31);
    }
  }

  // Complete orders, the best first. Next uses are guessed from `reference`. Ends early, with
  // none, when nothing is left below `cut` or the control says so.
  std::vector<Order> run(const Order& reference, std::int32_t width, Ranking ranking,
                         std::int64_t cut, Control& control);

  bool was_cut_short() const { return cut_short_; }
  std::int64_t states() const { return states_; }

 private:
  void add_candidate(std::int32_t parent, std::int32_t v, std::int64_t live, Ranking ranking,
                     const std::vector<std::int32_t>& evicted, std::int64_t cut);
  void expand(std::int32_t parent, Ranking ranking, std::int64_t cut);
  void find_residents(const State& state);
  void choose(const State& state, std::int64_t missing, int rule);
  State after(const Candidate& candidate) const;
  bool is_dominated(const State& state, const std::vector<std::int32_t>& alike,
                    const std::vector<State>& layer) const;
  std::uint64_t hash(const State& state, std::int32_t chosen) const;

  struct Resident {
    std::int32_t storage, next_use, uses_left;
    std::int64_t bytes, price;
    bool pinned;
  };

  const JointModel& model_;
  std::vector<std::int32_t> position_;
  std::vector<std::uint64_t> zobrist_;
  std::int32_t step_ = 0;
  bool cut_short_ = false;
  std::int64_t states_ = 0;
  std::vector<State> layer_;
  std::vector<Candidate> candidates_;
  std::vector<std::int32_t> evicted_;  // of all candidates
  std::vector<Resident> residents_, victims_;
  std::vector<std::vector<std::int32_t>> options_;
  std::vector<std::int32_t> chosen_;
  std::vector<Trace> trace_;
};

void Beam::find_residents(const State& state) {
  residents_.clear();
  for (std::size_t word = 0; word < state.resident.size(); ++word) {
    for (std::uint64_t left = state.resident[word]; left != 0; left &= left - 1) {
      const auto s = static_cast<std::int32_t>(word * 64) + order::lowest_bit(left);
      Resident resident{s, model_.kept[index(s)] ? model_.operators : model_.operators + 1, 0,
                        model_.rounded[index(s)], model_.size[index(s)], false};
      for (const std::int32_t v : model_.users[s]) {
        if (has(state.done, v)) continue;
        resident.next_use = std::min(resident.next_use, position_[index(v)]);
        ++resident.uses_left;
      }
      if (!has(state.copied, s)) resident.price *= 2;
      const order::Span writers = model_.writers[s];
      if (writers.size() > 1) {
        std::int32_t written = 0;
        for (const std::int32_t v : writers) written += has(state.done, v) ? 1 : 0;
        resident.pinned = written > 0 && written < writers.size();
      }
      if (step_ + 1 == model_.operators && model_.kept[index(s)]) resident.pinned = true;
      residents_.push_back(resident);
    }
  }
}

// Adds to options_ what leaves by a rule; victims_ is enough.
void Beam::choose(const State& state, std::int64_t missing, int rule) {
  std::sort(victims_.begin(), victims_.end(), [&](const Resident& a, const Resident& b) {
    const auto key = [&](const Resident& r) {
      const bool copied = has(state.copied, r.storage);
      switch (rule) {
        case 0:
          return std::tuple(-std::int64_t{r.next_use}, r.price, r.storage);
        case 1:
          return std::tuple(std::int64_t{copied ? 0 : 1}, -std::int64_t{r.next_use}, r.storage);
        case 2:
          return r.bytes >= missing ? std::tuple(r.price, -std::int64_t{r.next_use}, r.storage)
                                    : std::tuple(std::numeric_limits<std::int64_t>::max() - r.bytes,
                                                 r.price, r.storage);
        default:
          return std::tuple(std::int64_t{r.uses_left} * (copied ? 1 : 2),
                            -std::int64_t{r.next_use}, r.storage);
      }
    };
    return key(a) < key(b);
  });
  std::size_t count = 0;
  while (missing > 0) missing -= victims_[count++].bytes;
  chosen_.clear();
  for (std::size_t i = 0; i < count; ++i) {
    if (missing + victims_[i].bytes <= 0)
      missing += victims_[i].bytes;
    else
      chosen_.push_back(victims_[i].storage);
  }
  std::sort(chosen_.begin(), chosen_.end());
  if (std::find(options_.begin(), options_.end(), chosen_) == options_.end())
    options_.push_back(chosen_);
}

void Beam::add_candidate(std::int32_t parent, std::int32_t v, std::int64_t live, Ranking ranking,
                         const std::vector<std::int32_t>& evicted, std::int64_t cut) {
  const State& state = layer_[index(parent)];
  std::int64_t due = state.due;
  for (const std::int32_t s : evicted)
    due += model_.size[index(s)] * (has(state.copied, s) ? 1 : 2);
  if (due >= cut) return;
  const double beyond =
      static_cast<double>(live) - ranking.share * static_cast<double>(model_.capacity);
  const double key = static_cast<double>(due) + ranking.weight * std::max(0.0, beyond);
  const std::size_t begin = evicted_.size();
  evicted_.insert(evicted_.end(), evicted.begin(), evicted.end());
  candidates_.push_back({key, parent, v, due, live, begin, evicted_.size()});
}

void Beam::expand(std::int32_t parent, Ranking ranking, std::int64_t cut) {
  const State& state = layer_[index(parent)];
  bool know_residents = false;
  const std::size_t first_candidate = candidates_.size();
  const std::size_t first_evicted = evicted_.size();
  for (const std::int32_t v : state.ready) {
    std::int64_t read = 0;
    std::int64_t born = 0;
    std::int64_t freed = 0;
    std::int64_t gain = 0;
    for (const std::int32_t s : model_.uses[v]) {
      const std::int64_t bytes = model_.rounded[index(s)];
      const bool dies = dies_with(model_, state.done, s, v);
      if (dies) freed += bytes;
      const bool resident = has(state.resident, s);
      if (!resident && !has_begun(model_, state.done, s)) {
        born += bytes;
      } else {
        if (!resident) read += bytes;
        if (dies && model_.in_place[v].contains(s)) gain = std::max(gain, bytes);
      }
    }
    if (step_ + 1 == model_.operators) {
      for (std::int32_t s = 0; s < model_.storages(); ++s)
        if (model_.kept[index(s)] && model_.rounded[index(s)] > 0 && !has(state.resident, s) &&
            !model_.users[s].contains(v))
          read += model_.rounded[index(s)];
    }
    const std::int64_t missing =
        state.used + read + born - std::min(gain, born) - model_.capacity;
    options_.clear();
    if (missing <= 0) {
      options_.emplace_back();
    } else if (step_ > 0) {
      if (!know_residents) find_residents(state);
      know_residents = true;
      victims_.clear();
      std::int64_t enough = -missing;
      for (const Resident& resident : residents_) {
        if (resident.pinned || model_.users[resident.storage].contains(v)) continue;
        victims_.push_back(resident);
        enough += resident.bytes;
      }
      for (int rule = 0; enough >= 0 && rule < 4; ++rule) choose(state, missing, rule);
    }
    const std::int64_t live = state.live + born - freed;
    if (ranking.chains && missing <= 0 && read == 0 && begins_safe_chain(model_, state, v)) {
      candidates_.resize(first_candidate);
      evicted_.resize(first_evicted);
      add_candidate(parent, v, live, ranking, {}, cut);
      return;
    }
    for (const std::vector<std::int32_t>& option : options_)
      add_candidate(parent, v, live, ranking, option, cut);
  }
}

State Beam::after(const Candidate& candidate) const {
  State state = layer_[index(candidate.parent)];
  const std::int32_t v = candidate.chosen;
  for (std::size_t i = candidate.evicted_begin; i < candidate.evicted_end; ++i) {
    const std::int32_t s = evicted_[i];
    remove(state.resident, s);
    add(state.copied, s);
    state.used -= model_.rounded[index(s)];
  }
  for (const std::int32_t s : model_.uses[v]) {
    const bool dies = dies_with(model_, state.done, s, v);
    if (!has(state.resident, s)) {
      if (!dies) state.used += model_.rounded[index(s)];
    } else if (dies) {
      state.used -= model_.rounded[index(s)];
    }
    if (dies) {
      remove(state.resident, s);
      remove(state.copied, s);
    } else {
      add(state.resident, s);
    }
  }
  add(state.done, v);
  state.ready.erase(std::find(state.ready.begin(), state.ready.end(), v));
  for (const std::int32_t w : model_.successors[v]) {
    if (is_ready(model_, state.done, w)) state.ready.push_back(w);
  }
  state.due = candidate.due;
  state.live = candidate.live;
  return state;
}

// Whether a state with the same operators done and no more traffic can do all that this one does:
// it drops what this one does not have, and writes what this one has a copy of.
bool Beam::is_dominated(const State& state, const std::vector<std::int32_t>& alike,
                        const std::vector<State>& layer) const {
  for (const std::int32_t i : alike) {
    const State& other = layer[index(i)];
    if (other.done != state.done) continue;
    std::int64_t due = other.due;
    for (std::size_t word = 0; word < state.resident.size() && due <= state.due; ++word) {
      for (std::uint64_t left = other.resident[word] & ~state.resident[word]; left != 0;
           left &= left - 1)
        due += model_.size[word * 64 + static_cast<std::size_t>(order::lowest_bit(left))];
      for (std::uint64_t left = state.copied[word] & ~other.copied[word]; left != 0;
           left &= left - 1)
        due += model_.size[word * 64 + static_cast<std::size_t>(order::lowest_bit(left))];
    }
    if (due <= state.due) return true;
  }
  return false;
}

std::uint64_t Beam::hash(const State& state, std::int32_t chosen) const {
  std::uint64_t key = zobrist_[index(chosen)];
  for (std::size_t word = 0; word < state.done.size(); ++word)
    for (std::uint64_t left = state.done[word]; left != 0; left &= left - 1)
      key ^= zobrist_[word * 64 + static_cast<std::size_t>(order::lowest_bit(left))];
  return key;
}

std::vector<Order> Beam::run(const Order& reference, std::int32_t width, Ranking ranking,
                             std::int64_t cut, Control& control) {
  for (std::int32_t t = 0; t < model_.operators; ++t) position_[index(reference[index(t)])] = t;
  cut_short_ = false;
  trace_.clear();
  layer_.assign(1, first_state(model_));
  std::unordered_map<std::uint64_t, std::vector<std::int32_t>> alike;
  for (step_ = 0; step_ < model_.operators; ++step_) {
    candidates_.clear();
    evicted_.clear();
    for (std::size_t i = 0; i < layer_.size(); ++i) {
      if (control.stop_now()) return {};
      expand(static_cast<std::int32_t>(i), ranking, cut);
    }
    std::sort(candidates_.begin(), candidates_.end(), [](const Candidate& a, const Candidate& b) {
      return std::tie(a.key, a.parent, a.chosen, a.evicted_begin) <
             std::tie(b.key, b.parent, b.chosen, b.evicted_begin);
    });
    std::vector<State> next;
    alike.clear();
    for (const Candidate& candidate : candidates_) {
      if (next.size() == index(width)) {
        cut_short_ = true;
        break;
      }
      if (control.stop_now()) return {};
      auto& same = alike[hash(layer_[index(candidate.parent)], candidate.chosen)];
      if (same.size() >= kMostAlike) {
        cut_short_ = true;
        continue;
      }
      State state = after(candidate);
      if (is_dominated(state, same, next)) continue;
      same.push_back(static_cast<std::int32_t>(next.size()));
      trace_.push_back({layer_[index(candidate.parent)].trace, candidate.chosen});
      state.trace = static_cast<std::int32_t>(trace_.size()) - 1;
      next.push_back(std::move(state));
    }
    states_ += static_cast<std::int64_t>(next.size());
    layer_ = std::move(next);
  }
  std::vector<Order> orders;
  for (const State& state : layer_) {
    if (orders.size() == kMostComplete) break;
    Order order;
    for (std::int32_t i = state.trace; i >= 0; i = trace_[index(i)].parent)
      order.push_back(trace_[index(i)].chosen);
    std::reverse(order.begin(), order.end());
    orders.push_back(std::move(order));
  }
  return orders;
}

}  // namespace

BeamResult beam(const JointModel& model, const std::vector<Order>& starts,
                const BeamOptions& options, Control& control) {
  OrderTraffic traffic(model);
  BeamResult result;
  const auto offer = [&](const Order& order) {
    const std::int64_t bytes = traffic.improved(order, result.traffic);
    if (!result.order.empty() && bytes >= result.traffic) return;
    result.order = order;
    result.traffic = bytes;
  };
  for (const Order& order : starts)
    if (result.order.empty() || !control.stop_now()) offer(order);

  Beam search(model);
  std::int32_t width = options.first_width;
  bool complete = !operands_fit(model);
  while (!complete && width <= options.last_width && result.traffic > options.goal) {
    complete = true;
    for (const Ranking ranking : kRankings) {
      const std::vector<Order> orders =
          search.run(result.order, width, ranking, result.traffic, control);
      if (control.stop_now()) break;
      for (const Order& order : orders) offer(order);
      complete = complete && !search.was_cut_short();
      ++result.beams;
      result.last_width = width;
      if (result.traffic <= options.goal) break;
    }
    if (control.stop_now() || std::int64_t{2} * width * model.operators > kMostTraces) break;
    width *= 2;
  }
  result.states = search.states();
  return result;
}

}  // namespace planner::joint
