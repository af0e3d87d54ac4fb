#include "offsets_overwrites.hpp"

#include <algorithm>
#include <array>
#include <numeric>
#include <utility>

#include "offsets_conflicts.hpp"
#include "offsets_greedy.hpp"

namespace planner::offsets {
namespace {

std::size_t index(std::int32_t i) { return static_cast<std::size_t>(i); }

// One in so many random choices leaves a buffer alone.
constexpr std::uint64_t kLeftAlone = 6;

// One in so many buffers is chosen for anew.
constexpr std::array<std::uint64_t, 4> kVariedShares{2, 8, 32, 128};

// So many choices at most are all searched.
constexpr std::size_t kFewChoices = 128;
constexpr std::size_t kMostPairs = 2'000'000;  // of conflicting buffers, in all of them together

}  // namespace

std::vector<std::int64_t> Merged::unmerged(const std::vector<std::int64_t>& offsets) const {
  std::vector<std::int64_t> own;
  own.reserve(buffer_of.size());
  for (std::int32_t v : buffer_of) own.push_back(offsets[index(v)]);
  return own;
}

OverwriteChoices::OverwriteChoices(const Instance& instance)
    : instance_(instance), by_start_(instance.buffers()), options_(instance.buffers()),
      overwriters_(instance.buffers()) {
  std::iota(by_start_.begin(), by_start_.end(), 0);
  const auto begins_before = [&instance](std::int32_t u, std::int32_t v) {
    const std::int64_t lower = instance.lower[index(u)];
    const std::int64_t other = instance.lower[index(v)];
    return lower != other ? lower < other : u < v;
  };
  std::sort(by_start_.begin(), by_start_.end(), begins_before);
  for (const PairRule& rule : instance.rules) {
    const auto [u, v] = std::minmax(rule.first, rule.second, begins_before);
    options_[index(v)].push_back(u);
    overwriters_[index(u)].push_back(v);
  }
  for (auto& options : options_) std::sort(options.begin(), options.end(), begins_before);
}

// Whether v may overwrite u as far as what u overwrites is concerned, and who else overwrites u.
bool OverwriteChoices::may_overwrite(const Overwritten& chosen, std::int32_t u,
                                     std::int32_t v) const {
  const std::int32_t below = chosen[index(u)];
  if (below >= 0 && instance_.upper[index(below)] > instance_.lower[index(v)]) return false;
  return std::none_of(overwriters_[index(u)].begin(), overwriters_[index(u)].end(),
                      [&](std::int32_t other) { return chosen[index(other)] == u; });
}

// `choose` is given a buffer and the options that nobody else has taken, and returns one or -1.
template <class Choose>
Overwritten OverwriteChoices::choose(Choose choose) const {
  Overwritten chosen(options_.size(), -1);
  std::vector<std::int32_t> open;
  for (std::int32_t v : by_start_) {
    open.clear();
    for (std::int32_t u : options_[index(v)]) {
      if (may_overwrite(chosen, u, v)) open.push_back(u);
    }
    if (open.empty()) continue;
    chosen[index(v)] = choose(v, open);
  }
  return chosen;
}

Overwritten OverwriteChoices::youngest() const {
  return choose([](std::int32_t, const auto& open) { return open.back(); });
}

Overwritten OverwriteChoices::oldest() const {
  return choose([](std::int32_t, const auto& open) { return open.front(); });
}

// Bytes of a section count what may be shared once.
bool OverwriteChoices::is_required(std::int32_t buffer, std::int64_t capacity) const {
  const auto section = index(instance_.first_section[index(buffer)]);
  return instance_.section_bytes[section] + instance_.padded_size[index(buffer)] > capacity;
}

Overwritten OverwriteChoices::required(const Overwritten& chosen, std::int64_t capacity) const {
  Overwritten required = chosen;
  for (std::size_t v = 0; v < chosen.size(); ++v) {
    if (!is_required(static_cast<std::int32_t>(v), capacity)) required[v] = -1;
  }
  return required;
}

Overwritten OverwriteChoices::vary(const Overwritten& chosen, std::int64_t capacity,
                                   std::mt19937_64& random) const {
  const std::uint64_t share = kVariedShares[random() % kVariedShares.size()];
  return choose([&](std::int32_t v, const auto& open) {
    const std::int32_t u = chosen[index(v)];
    const bool possible = std::find(open.begin(), open.end(), u) != open.end() ||
                          (u < 0 && !is_required(v, capacity));
    if (possible && random() % share != 0) return u;
    if (random() % kLeftAlone == 0 && !is_required(v, capacity)) return std::int32_t{-1};
    return open[random() % open.size()];
  });
}

Merged OverwriteChoices::merge(const Overwritten& chosen) const {
  Merged merged;
  merged.buffer_of.assign(chosen.size(), -1);
  Requests requests;
  for (std::int32_t v : by_start_) {  // what is overwritten comes first
    const std::int32_t below = chosen[index(v)];
    std::int32_t& buffer = merged.buffer_of[index(v)];
    if (below >= 0) {
      buffer = merged.buffer_of[index(below)];
      std::int64_t& upper = requests.upper[index(buffer)];
      upper = std::max(upper, instance_.upper[index(v)]);
    } else {
      buffer = static_cast<std::int32_t>(requests.size.size());
      requests.lower.push_back(instance_.lower[index(v)]);
      requests.upper.push_back(instance_.upper[index(v)]);
      requests.size.push_back(instance_.size[index(v)]);
      requests.alignment.push_back(instance_.alignment[index(v)]);
    }
  }
  merged.instance = make_instance(std::move(requests));
  return merged;
}

std::vector<Overwritten> OverwriteChoices::all(std::size_t most) const {
  std::vector<Overwritten> all{Overwritten(options_.size(), -1)};
  for (std::int32_t v : by_start_) {
    const std::size_t before = all.size();
    for (std::int32_t u : options_[index(v)]) {
      for (std::size_t k = 0; k < before; ++k) {
        if (!may_overwrite(all[k], u, v)) continue;
        if (all.size() >= most) return {};
        all.push_back(all[k]);
        all.back()[index(v)] = u;
      }
    }
  }
  // With more of them merged the bound is lower.
  std::reverse(all.begin(), all.end());
  return all;
}

namespace {

// The search refers to the merged instance; null if that is too large for it.
struct Candidate {
  Overwritten chosen;
  std::unique_ptr<Merged> merged;
  std::unique_ptr<PlacementSearch> search;
};

Candidate candidate(const OverwriteChoices& choices, Overwritten chosen) {
  auto merged = std::make_unique<Merged>(choices.merge(chosen));
  auto search = make_placement_search(merged->instance);
  return {std::move(chosen), std::move(merged), std::move(search)};
}

// Few choices, all of them searched: a proof if all are exhausted.
class AllOverwrites final : public PlacementSearch {
 public:
  AllOverwrites(const OverwriteChoices& choices, const std::vector<Overwritten>& all) {
    for (const Overwritten& chosen : all) candidates_.push_back(candidate(choices, chosen));
  }

  Answer run(std::int64_t capacity, Configuration configuration, std::int64_t node_limit,
             Control& control) override {
    nodes_ = 0;
    bool exhausted = true;
    for (Candidate& candidate : candidates_) {
      if (candidate.merged->instance.lower_bound > capacity) continue;
      if (candidate.search == nullptr) return Answer::kStopped;
      const Answer answer = candidate.search->run(capacity, configuration, node_limit, control);
      nodes_ += candidate.search->nodes();
      if (answer == Answer::kPlaced) {
        offsets_ = candidate.merged->unmerged(candidate.search->offsets());
        return answer;
      }
      if (control.stop_now()) return Answer::kStopped;
      exhausted = exhausted && answer == Answer::kImpossible;
    }
    return exhausted ? Answer::kImpossible : Answer::kStopped;
  }

  const std::vector<std::int64_t>& offsets() const override { return offsets_; }
  std::int64_t nodes() const override { return nodes_; }
  bool complete() const override { return true; }

 private:
  std::vector<Candidate> candidates_;
  std::int64_t nodes_ = 0;
  std::vector<std::int64_t> offsets_;
};

// Many choices: some of them by turns, the same again and again or new ones. Proves nothing.
class SomeOverwrites final : public PlacementSearch {
 public:
  explicit SomeOverwrites(OverwriteChoices choices)
      : choices_(std::move(choices)),
        kept_{candidate(choices_, choices_.youngest()), candidate(choices_, choices_.oldest())} {}

  Answer run(std::int64_t capacity, Configuration configuration, std::int64_t node_limit,
             Control& control) override {
    nodes_ = 0;
    const std::size_t turn = turns_++ % kTurns;
    if (turn < kept_.size()) {
      const Answer answer = run(kept_[turn], capacity, configuration, node_limit, control);
      if (answer == Answer::kPlaced) std::swap(kept_[0], kept_[turn]);
      return answer;
    }
    const Overwritten& best = kept_[0].chosen;
    Candidate fresh =
        candidate(choices_, turn == kept_.size() ? choices_.required(best, capacity)
                                                 : choices_.vary(best, capacity, random_));
    if (fresh.merged->instance.lower_bound > capacity) return Answer::kStopped;
    const GreedyResult greedy = pack_greedily(fresh.merged->instance, {}, capacity, control);
    Answer answer = Answer::kPlaced;
    if (greedy.packing.height <= capacity) {
      offsets_ = fresh.merged->unmerged(greedy.packing.offsets);
    } else {
      answer = run(fresh, capacity, configuration, node_limit, control);
    }
    if (answer == Answer::kPlaced) kept_[0] = std::move(fresh);
    return answer;
  }

  const std::vector<std::int64_t>& offsets() const override { return offsets_; }
  std::int64_t nodes() const override { return nodes_; }
  bool complete() const override { return false; }

 private:
  // No divisor in common with the number of configurations, so that each choice meets all of them.
  static constexpr std::size_t kTurns = 5;

  Answer run(Candidate& candidate, std::int64_t capacity, Configuration configuration,
             std::int64_t node_limit, Control& control) {
    if (candidate.search == nullptr || candidate.merged->instance.lower_bound > capacity) {
      return Answer::kStopped;
    }
    const Answer answer = candidate.search->run(capacity, configuration, node_limit, control);
    nodes_ = candidate.search->nodes();
    if (answer != Answer::kPlaced) return Answer::kStopped;  // exhausted for this choice only
    offsets_ = candidate.merged->unmerged(candidate.search->offsets());
    return answer;
  }

  const OverwriteChoices choices_;
  std::array<Candidate, 2> kept_;  // the last that fitted first; they learn from their failures
  std::mt19937_64 random_;
  std::size_t turns_ = 0;
  std::int64_t nodes_ = 0;
  std::vector<std::int64_t> offsets_;
};

}  // namespace

std::unique_ptr<PlacementSearch> make_overwrite_search(const Instance& instance) {
  OverwriteChoices choices(instance);
  const std::size_t pairs = std::max<std::size_t>(1, conflicting_pairs(instance));
  const std::vector<Overwritten> all = choices.all(std::min(kFewChoices, kMostPairs / pairs));
  if (!all.empty()) return std::make_unique<AllOverwrites>(choices, all);
  return std::make_unique<SomeOverwrites>(std::move(choices));
}

}  // namespace planner::offsets
