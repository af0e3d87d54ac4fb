#include "pipeline_suffix.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <queue>
#include <unordered_map>

namespace planner::pipeline_suffix {

namespace {

constexpr Ticks kNever = Ticks{1} << 60;
constexpr std::int64_t kMostTailNodes = 10'000;

using Counts = std::array<std::int32_t, kMostDevices>;
using Times = std::array<Ticks, kMostDevices>;
using Queue = std::vector<Ticks>;
// How many F, B and W each device has done.
using Key = std::array<std::uint8_t, 3 * kMostDevices>;

struct KeyHash {
  std::size_t operator()(const Key& key) const {
    std::uint64_t hash = 1469598103934665603U;
    for (const std::uint8_t count : key) hash = (hash ^ count) * 1099511628211U;
    return hash;
  }
};

// A device that ends at a tick makes the whole take that and `more` ticks, divided by `share`; one
// with share 0 may end whenever it likes.
struct End {
  Ticks more = 0;
  Ticks share = 0;
};
using Ends = std::array<End, kMostDevices>;

// What is done, and when what follows can be. Arrivals are of the passes that follow on a device
// and whose predecessor elsewhere is done.
struct State {
  Counts forward{}, backward{}, weight{};
  Times free{};
  std::array<Queue, kMostDevices> forward_arrivals, backward_arrivals;
};

// Ticks from the start of the next F, and of the next B, of a device to the end, by how many
// microbatches of it remain.
struct Tails {
  std::array<std::vector<Ticks>, kMostDevices> forward, backward;
};

class Search {
 public:
  Search(const Problem& problem, std::int32_t microbatches, const Tails& tails, const Ends& ends)
      : stages_(problem.stages),
        devices_(static_cast<std::int32_t>(problem.stages.size())),
        microbatches_(microbatches),
        home_(std::max(problem.device, 0)),
        tails_(tails),
        ends_(ends) {}

  Bound least(const State& from, Ticks enough, std::int64_t most_nodes, Control& control) {
    insert(from, {0, 0, 0, kForward});
    std::int64_t expanded = 0;
    while (!open_.empty()) {
      const auto [bound, depth, index] = open_.top();
      if (nodes_[index].dead) {
        open_.pop();
        continue;
      }
      const bool ended = ++expanded > most_nodes || control.stop();
      const State state = unpacked(index);
      if (bound >= enough) break;
      if (complete(state)) return {bound, expanded, words(from, index)};
      if (ended) return {bound, expanded, {}};
      open_.pop();
      expand(state, {bound, index, 0, kForward});
    }
    return {enough, expanded, {}};
  }

  // The most forward passes that memory lets a device do before its first B.
  std::int32_t ahead(std::int32_t device) const {
    const Stage& stage = stages_[device];
    if (stage.activation == 0) return microbatches_;
    const Bytes most = stage.limit / stage.activation;
    return static_cast<std::int32_t>(std::min<Bytes>(most, microbatches_));
  }

 private:
  // How a node comes about.
  struct Step {
    Ticks bound;
    std::size_t parent;
    std::int32_t device;
    Kind kind;
  };
  struct Node {
    Key key;
    std::size_t at;
    Step step;
    bool dead;
  };
  struct Entry {
    Ticks bound;
    std::int32_t depth;
    std::size_t index;
    bool operator<(const Entry& other) const {
      if (bound != other.bound) return bound > other.bound;
      return depth < other.depth;
    }
  };
  struct Ready {
    Times forward, backward;
  };

  const std::vector<Stage>& stages_;
  std::int32_t devices_, microbatches_, home_;
  const Tails& tails_;
  const Ends& ends_;
  std::vector<Node> nodes_;
  std::vector<Ticks> times_;
  std::unordered_map<Key, std::vector<std::size_t>, KeyHash> same_;
  std::priority_queue<Entry> open_;

  // Whether what a device still has to do makes no difference to any end that counts.
  bool irrelevant(const State& state, std::int32_t d) const {
    if (ends_[d].share > 0 || state.forward[d] < microbatches_) return false;
    return d < home_ || state.backward[d] == microbatches_;
  }

  bool complete(const State& state) const {
    for (std::int32_t d = 0; d < devices_; ++d)
      if (ends_[d].share > 0 && state.weight[d] < microbatches_) return false;
    return true;
  }

  Bytes excess(const State& state, std::int32_t d) const {
    const Stage& stage = stages_[d];
    const Bytes held = (state.forward[d] + 1 - state.backward[d]) * stage.activation +
                       (state.backward[d] - state.weight[d]) * stage.kept;
    return held - stage.limit;
  }

  bool backward_known(const State& state, std::int32_t d) const {
    if (d + 1 == devices_) return state.backward[d] < state.forward[d];
    return !state.backward_arrivals[d].empty();
  }

  bool forward_known(const State& state, std::int32_t d) const {
    if (state.forward[d] == microbatches_) return false;
    return d == 0 || !state.forward_arrivals[d].empty();
  }

  Ticks backward_start(const State& state, std::int32_t d) const {
    if (d + 1 == devices_) return state.free[d];
    return std::max(state.free[d], state.backward_arrivals[d].front());
  }

  Ticks forward_start(const State& state, std::int32_t d) const {
    return d == 0 ? state.free[d] : std::max(state.free[d], state.forward_arrivals[d].front());
  }

  // The earliest start of a forward pass that needs what B and W give back first.
  Ticks with_room(const State& state, std::int32_t d, Ticks start, Ticks backward) const {
    const Bytes needed = excess(state, d);
    if (needed <= 0) return start;
    const Stage& stage = stages_[d];
    const std::int32_t pending = state.backward[d] - state.weight[d];
    const std::int32_t live = state.forward[d] - state.backward[d];
    Ticks least = kNever;
    for (std::int32_t ends = 0; ends <= live; ++ends) {
      const Bytes rest = std::max<Bytes>(0, needed - ends * (stage.activation - stage.kept));
      if (rest > 0 && stage.kept == 0) continue;
      const Bytes weights = rest == 0 ? 0 : (rest + stage.kept - 1) / stage.kept;
      if (weights > pending + ends) continue;
      const Ticks work = ends * stage.backward + weights * stage.weight;
      Ticks now = state.free[d] + work;
      if (ends > 0) now = std::max(now, backward + ends * stage.backward);
      least = std::min(least, now);
    }
    return std::max(start, least);
  }

  Ready ready(const State& state) const {
    Ready found{};
    // Room depends on B, B of the last device on F: twice is enough for what it gains.
    for (std::int32_t round = 0; round < 2; ++round) {
      for (std::int32_t d = 0; d < devices_; ++d) {
        Ticks& start = found.forward[d];
        if (state.forward[d] == microbatches_) {
          start = kNever;
          continue;
        }
        if (forward_known(state, d)) {
          start = forward_start(state, d);
        } else {
          const Ticks there = found.forward[d - 1] + stages_[d - 1].forward;
          start = std::max(state.free[d], there + stages_[d - 1].hop);
        }
        if (round > 0) start = with_room(state, d, start, found.backward[d]);
      }
      for (std::int32_t d = devices_; d-- > 0;) {
        Ticks& start = found.backward[d];
        if (state.backward[d] == microbatches_) {
          start = kNever;
        } else if (backward_known(state, d)) {
          start = backward_start(state, d);
        } else if (d + 1 == devices_) {
          start = found.forward[d] + stages_[d].forward;
        } else {
          const Ticks there = found.backward[d + 1] + stages_[d + 1].backward;
          start = std::max(state.free[d], there + stages_[d].hop);
        }
      }
    }
    return found;
  }

  // Moves times to the earliest that they can matter, so that equal prospects look equal.
  void tighten(State& state, const Ready& at) const {
    for (std::int32_t d = 0; d < devices_; ++d) {
      if (irrelevant(state, d)) {
        state.backward[d] = state.weight[d] = microbatches_;
        state.free[d] = 0;
        state.backward_arrivals[d].clear();
        continue;
      }
      if (state.weight[d] == state.backward[d] && state.backward[d] < microbatches_)
        state.free[d] = std::max(state.free[d], std::min(at.forward[d], at.backward[d]));
      Ticks least = state.free[d];
      for (Ticks& arrival : state.forward_arrivals[d]) {
        arrival = std::max(arrival, least);
        least = arrival + stages_[d].forward;
      }
      least = state.free[d];
      for (Ticks& arrival : state.backward_arrivals[d]) {
        arrival = std::max(arrival, least);
        least = arrival + stages_[d].backward;
      }
    }
  }

  Ticks bound(const State& state, const Ready& at) const {
    Ticks most = 0;
    for (std::int32_t d = 0; d < devices_; ++d) {
      if (irrelevant(state, d)) continue;
      const Stage& stage = stages_[d];
      const std::int32_t forward = microbatches_ - state.forward[d];
      const std::int32_t backward = microbatches_ - state.backward[d];
      if (forward > 0) most = std::max(most, at.forward[d] + tails_.forward[d][forward]);
      if (backward > 0) most = std::max(most, at.backward[d] + tails_.backward[d][backward]);
      const Ticks passes = forward * stage.forward + backward * stage.backward;
      const Ticks weights = (microbatches_ - state.weight[d]) * stage.weight;
      const End& end = ends_[d];
      if (end.share > 0) {
        const Ticks sum = state.free[d] + passes + weights + end.more;
        most = std::max(most, (sum + end.share - 1) / end.share);
      }
      if (d > home_ && backward > 0) {
        Ticks back = stages_[home_].weight;
        for (std::int32_t e = home_; e < d; ++e) back += stages_[e].hop + stages_[e].backward;
        most = std::max(most, state.free[d] + passes + back);
      }
    }
    return most;
  }

  void insert(State state, Step step) {
    Ready at = ready(state);
    tighten(state, at);
    step.bound = std::max(step.bound, bound(state, at));
    if (step.bound >= kNever) return;
    Key key{};
    std::int32_t depth = 0;
    const std::size_t begin = times_.size();
    for (std::int32_t d = 0; d < devices_; ++d) {
      const std::size_t column = 3 * static_cast<std::size_t>(d);
      key[column] = static_cast<std::uint8_t>(state.forward[d]);
      key[column + 1] = static_cast<std::uint8_t>(state.backward[d]);
      key[column + 2] = static_cast<std::uint8_t>(state.weight[d]);
      depth += state.forward[d] + state.backward[d] + state.weight[d];
      times_.push_back(state.free[d]);
      for (const Ticks arrival : state.forward_arrivals[d]) times_.push_back(arrival);
      for (const Ticks arrival : state.backward_arrivals[d]) times_.push_back(arrival);
    }
    const std::size_t size = times_.size() - begin;
    auto& others = same_[key];
    std::size_t kept = 0;
    for (std::size_t n = 0; n < others.size(); ++n) {
      const Ticks* mine = times_.data() + begin;
      const Ticks* theirs = times_.data() + nodes_[others[n]].at;
      bool no_later = true, no_earlier = true;
      for (std::size_t i = 0; i < size && (no_later || no_earlier); ++i) {
        no_later = no_later && mine[i] <= theirs[i];
        no_earlier = no_earlier && mine[i] >= theirs[i];
      }
      if (no_earlier) {
        times_.resize(begin);
        // Those before were all kept: none of them can be later than what this one is.
        return;
      }
      if (no_later)
        nodes_[others[n]].dead = true;
      else
        others[kept++] = others[n];
    }
    others.resize(kept);
    const std::size_t index = nodes_.size();
    others.push_back(index);
    nodes_.push_back({key, begin, step, false});
    open_.push({step.bound, depth, index});
  }

  State unpacked(std::size_t index) const {
    State state;
    const Node& node = nodes_[index];
    for (std::int32_t d = 0; d < devices_; ++d) {
      const std::size_t column = 3 * static_cast<std::size_t>(d);
      state.forward[d] = node.key[column];
      state.backward[d] = node.key[column + 1];
      state.weight[d] = node.key[column + 2];
    }
    const Ticks* next = times_.data() + node.at;
    for (std::int32_t d = 0; d < devices_; ++d) {
      state.free[d] = *next++;
      const std::int32_t come = d == 0 ? 0 : state.forward[d - 1] - state.forward[d];
      state.forward_arrivals[d].assign(next, next + come);
      next += come;
      const bool inner = d + 1 < devices_ && !irrelevant(state, d);
      const std::int32_t back = inner ? state.backward[d + 1] - state.backward[d] : 0;
      if (back > 0) {
        state.backward_arrivals[d].assign(next, next + back);
        next += back;
      }
    }
    return state;
  }

  // Active schedules are enough (Giffler and Thompson 1960): a pass that fits before the next one
  // of its device may run there, as nothing holds memory for longer by it when a pass takes more.
  void expand(const State& state, Step step) {
    Ticks first = kNever;
    std::int32_t where = -1;
    const auto consider = [&](std::int32_t d, Ticks end) {
      if (end < first) {
        first = end;
        where = d;
      }
    };
    for (std::int32_t d = 0; d < devices_; ++d) {
      if (irrelevant(state, d)) continue;
      if (can_forward(state, d)) consider(d, forward_start(state, d) + stages_[d].forward);
      if (backward_known(state, d)) consider(d, backward_start(state, d) + stages_[d].backward);
      if (state.weight[d] < state.backward[d]) consider(d, state.free[d] + stages_[d].weight);
    }
    if (where < 0) return;
    step.device = where;
    if (can_forward(state, where) && forward_start(state, where) < first)
      insert(after_forward(state, where), with(step, kForward));
    if (backward_known(state, where) && backward_start(state, where) < first)
      insert(after_backward(state, where), with(step, kBackward));
    if (state.weight[where] < state.backward[where]) {
      State next = state;
      next.free[where] += stages_[where].weight;
      ++next.weight[where];
      insert(std::move(next), with(step, kWeight));
    }
  }

  static Step with(Step step, Kind kind) {
    step.kind = kind;
    return step;
  }

  std::vector<std::vector<std::uint8_t>> words(const State& from, std::size_t index) const {
    std::vector<std::vector<std::uint8_t>> found(static_cast<std::size_t>(devices_));
    for (; index > 0; index = nodes_[index].step.parent) {
      const Step& step = nodes_[index].step;
      found[static_cast<std::size_t>(step.device)].push_back(step.kind);
    }
    for (std::int32_t d = 0; d < devices_; ++d) {
      auto& word = found[static_cast<std::size_t>(d)];
      word.insert(word.end(), static_cast<std::size_t>(from.forward[d]), kForward);
      std::reverse(word.begin(), word.end());
    }
    return found;
  }

  bool can_forward(const State& state, std::int32_t d) const {
    return forward_known(state, d) && excess(state, d) <= 0;
  }

  State after_forward(const State& state, std::int32_t d) const {
    State next = state;
    next.free[d] = forward_start(state, d) + stages_[d].forward;
    ++next.forward[d];
    if (d > 0) next.forward_arrivals[d].erase(next.forward_arrivals[d].begin());
    if (d + 1 < devices_) next.forward_arrivals[d + 1].push_back(next.free[d] + stages_[d].hop);
    return next;
  }

  State after_backward(const State& state, std::int32_t d) const {
    State next = state;
    next.free[d] = backward_start(state, d) + stages_[d].backward;
    ++next.backward[d];
    if (d + 1 < devices_) next.backward_arrivals[d].erase(next.backward_arrivals[d].begin());
    if (d > 0 && !irrelevant(state, d - 1))
      next.backward_arrivals[d - 1].push_back(next.free[d] + stages_[d - 1].hop);
    return next;
  }
};

// All that may be done when the next F of `device` starts, or with `back` its next B, at tick 0.
State earliest(const Search& search, std::int32_t devices, std::int32_t device, bool back) {
  State state;
  std::int32_t least = kMostMicrobatches;
  for (std::int32_t d = 0; d < devices; ++d) {
    if (d < device || (back && d == device)) {
      least = std::min(least, search.ahead(d));
      state.forward[d] = least;
    } else if (back) {
      state.forward[d] = state.backward[d] = state.weight[d] = least;
    }
  }
  for (std::int32_t d = 0; d < devices; ++d) {
    if (d > 0) state.forward_arrivals[d].assign(state.forward[d - 1] - state.forward[d], 0);
    if (d + 1 < devices)
      state.backward_arrivals[d].assign(state.backward[d + 1] - state.backward[d], 0);
  }
  return state;
}

}  // namespace

Bound suffix_bound(const Problem& problem, Ticks enough, std::int64_t most_nodes,
                   Control& control) {
  const auto devices = static_cast<std::int32_t>(problem.stages.size());
  const std::int32_t home = std::max(problem.device, 0);
  Tails tails;
  Ends ends;
  for (std::int32_t d = 0; d < devices; ++d) {
    tails.forward[d].assign(problem.microbatches + 1, 0);
    tails.backward[d].assign(problem.microbatches + 1, 0);
    if (problem.device < 0 || d == problem.device) ends[d].share = 1;
  }
  Bound found{0, 0, {}};
  for (std::int32_t count = 1; count <= problem.microbatches; ++count) {
    const bool all = count == problem.microbatches;
    for (std::int32_t d = 0; d < devices; ++d) {
      const Stage& stage = problem.stages[d];
      tails.forward[d][count] = tails.forward[d][count - 1] + stage.forward;
      tails.backward[d][count] = tails.backward[d][count - 1] + stage.backward;
    }
    // Those of later passes first: the searches of earlier ones come by them.
    for (std::int32_t entry = 0; entry < 2 * devices; ++entry) {
      const bool back = entry < devices;
      const std::int32_t d = back ? entry : 2 * devices - 1 - entry;
      const bool last = all && !back && d == home;
      if (last && problem.all_ends && problem.device >= 0) {
        Ticks ahead = 0;
        for (std::int32_t e = home; e-- > 0;) {
          ahead += problem.stages[e].forward + problem.stages[e].hop;
          ends[e] = {ahead, 1};
        }
        for (std::int32_t e = home + 1; e < devices; ++e) ends[e] = {tails.forward[e][count], 2};
      }
      Search search(problem, count, tails, ends);
      Bound now = search.least(earliest(search, devices, d, back), last ? enough : kNever,
                               last ? most_nodes : std::min(most_nodes / 10, kMostTailNodes),
                               control);
      Ticks& tail = back ? tails.backward[d][count] : tails.forward[d][count];
      tail = std::max(tail, now.ticks);
      found.nodes += now.nodes;
      if (last) {
        found.ticks = tail;
        found.words = std::move(now.words);
        return found;
      }
    }
  }
  return found;
}

}  // namespace planner::pipeline_suffix
