#include "pipeline_suffix.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <queue>
#include <unordered_map>
#include <utility>

#include "pipeline_front.hpp"

namespace planner::pipeline_suffix {

namespace {

constexpr std::int64_t kMostTailNodes = 10'000;

// How many F, B and W each device has done.
using Key = std::array<std::uint8_t, 3 * kMostDevices>;

struct KeyHash {
  std::size_t operator()(const Key& key) const {
    std::uint64_t hash = 1469598103934665603U;
    for (const std::uint8_t count : key) hash = (hash ^ count) * 1099511628211U;
    return hash;
  }
};

class Search {
 public:
  Search(const Problem& problem, const Fronts& fronts)
      : stages_(problem.stages),
        devices_(static_cast<std::int32_t>(problem.stages.size())),
        fronts_(fronts) {}

  Bound least(const Front& from, Ticks enough, std::int64_t most_nodes, Control& control) {
    insert(from, {0, 0, 0, kForward});
    std::int64_t expanded = 0;
    while (!open_.empty()) {
      const auto [bound, depth, index] = open_.top();
      if (nodes_[index].dead) {
        open_.pop();
        continue;
      }
      const bool ended = ++expanded > most_nodes || control.stop();
      const Front front = unpacked(index);
      if (bound >= enough) break;
      if (fronts_.complete(front)) return {bound, expanded, words(from, index)};
      if (ended) return {bound, expanded, {}};
      open_.pop();
      expand(front, {bound, index, 0, kForward});
    }
    return {enough, expanded, {}};
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

  const std::vector<Stage>& stages_;
  std::int32_t devices_;
  const Fronts& fronts_;
  std::vector<Node> nodes_;
  std::vector<Ticks> times_;
  std::unordered_map<Key, std::vector<std::size_t>, KeyHash> same_;
  std::priority_queue<Entry> open_;

  void insert(Front front, Step step) {
    const Ready at = fronts_.ready(front);
    fronts_.tighten(front, at);
    step.bound = std::max(step.bound, fronts_.bound(front, at));
    if (step.bound >= kNever) return;
    Key key{};
    std::int32_t depth = 0;
    const std::size_t begin = times_.size();
    for (std::int32_t d = 0; d < devices_; ++d) {
      const std::size_t column = 3 * static_cast<std::size_t>(d);
      key[column] = static_cast<std::uint8_t>(front.forward[d]);
      key[column + 1] = static_cast<std::uint8_t>(front.backward[d]);
      key[column + 2] = static_cast<std::uint8_t>(front.weight[d]);
      depth += front.forward[d] + front.backward[d] + front.weight[d];
      times_.push_back(front.free[d]);
      for (const Ticks arrival : front.forward_arrivals[d]) times_.push_back(arrival);
      for (const Ticks arrival : front.backward_arrivals[d]) times_.push_back(arrival);
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

  Front unpacked(std::size_t index) const {
    Front front;
    const Node& node = nodes_[index];
    for (std::int32_t d = 0; d < devices_; ++d) {
      const std::size_t column = 3 * static_cast<std::size_t>(d);
      front.forward[d] = node.key[column];
      front.backward[d] = node.key[column + 1];
      front.weight[d] = node.key[column + 2];
    }
    const Ticks* next = times_.data() + node.at;
    for (std::int32_t d = 0; d < devices_; ++d) {
      front.free[d] = *next++;
      const std::int32_t come = d == 0 ? 0 : front.forward[d - 1] - front.forward[d];
      front.forward_arrivals[d].assign(next, next + come);
      next += come;
      const bool inner = d + 1 < devices_ && !fronts_.irrelevant(front, d);
      const std::int32_t back = inner ? front.backward[d + 1] - front.backward[d] : 0;
      if (back > 0) {
        front.backward_arrivals[d].assign(next, next + back);
        next += back;
      }
    }
    return front;
  }

  // Of the device on which some pass can end first, at `first`, the next pass starts before that:
  // see the header.
  void expand(const Front& front, Step step) {
    Ticks first = kNever;
    std::int32_t where = -1;
    const auto consider = [&](std::int32_t d, Ticks end) {
      if (end < first) {
        first = end;
        where = d;
      }
    };
    for (std::int32_t d = 0; d < devices_; ++d) {
      if (fronts_.irrelevant(front, d)) continue;
      if (fronts_.can_forward(front, d))
        consider(d, fronts_.forward_start(front, d) + stages_[d].forward);
      if (fronts_.backward_known(front, d))
        consider(d, fronts_.backward_start(front, d) + stages_[d].backward);
      if (front.weight[d] < front.backward[d]) consider(d, front.free[d] + stages_[d].weight);
    }
    if (where < 0) return;
    step.device = where;
    if (fronts_.can_forward(front, where) && fronts_.forward_start(front, where) < first)
      insert(fronts_.after_forward(front, where), with(step, kForward));
    if (fronts_.backward_known(front, where) && fronts_.backward_start(front, where) < first)
      insert(fronts_.after_backward(front, where), with(step, kBackward));
    if (front.weight[where] < front.backward[where])
      insert(fronts_.after_weight(front, where), with(step, kWeight));
  }

  static Step with(Step step, Kind kind) {
    step.kind = kind;
    return step;
  }

  std::vector<std::vector<std::uint8_t>> words(const Front& from, std::size_t index) const {
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
};

// All that may be done when the next F of `device` starts, or with `back` its next B, at tick 0.
Front earliest(const Fronts& fronts, std::int32_t devices, std::int32_t device, bool back) {
  Front front;
  std::int32_t least = kMostMicrobatches;
  for (std::int32_t d = 0; d < devices; ++d) {
    if (d < device || (back && d == device)) {
      least = std::min(least, fronts.ahead(d));
      front.forward[d] = least;
    } else if (back) {
      front.forward[d] = front.backward[d] = front.weight[d] = least;
    }
  }
  for (std::int32_t d = 0; d < devices; ++d) {
    if (d > 0) front.forward_arrivals[d].assign(front.forward[d - 1] - front.forward[d], 0);
    if (d + 1 < devices)
      front.backward_arrivals[d].assign(front.backward[d + 1] - front.backward[d], 0);
  }
  return front;
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
      const Fronts fronts(problem, count, tails, ends);
      Search search(problem, fronts);
      Bound now = search.least(earliest(fronts, devices, d, back), last ? enough : kNever,
                               last ? most_nodes : std::min(most_nodes / 10, kMostTailNodes),
                               control);
      Ticks& tail = back ? tails.backward[d][count] : tails.forward[d][count];
      tail = std::max(tail, now.ticks);
      found.nodes += now.nodes;
      if (last) {
        // A tail is a bound where `enough` is below the least, too.
        found.ticks = std::min(tail, enough);
        found.words = std::move(now.words);
        return found;
      }
    }
  }
  return found;
}

}  // namespace planner::pipeline_suffix
