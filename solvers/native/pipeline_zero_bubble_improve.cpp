// Local improvement of one-chunk orders: a pass at a time moves along its device's order.
#include <algorithm>
#include <cstddef>
#include <random>

#include "pipeline_zero_bubble.hpp"

namespace planner::zero_bubble {

namespace {

using pipeline::kNever;

constexpr std::size_t kFarthest = 12;

// Times orders; the arrays live as long as the improvement does.
class Clock {
 public:
  explicit Clock(const Problem& problem)
      : problem_(problem),
        m_(static_cast<std::size_t>(problem.microbatches)),
        ends_(problem.stages.size() * m_ * 3),
        at_(problem.stages.size()),
        now_(problem.stages.size()),
        first_(problem.stages.size()),
        done_(problem.stages.size() * 3) {}

  Cost cost(const Words& words) {
    const std::size_t devices = problem_.stages.size();
    std::fill(at_.begin(), at_.end(), 0);
    std::fill(now_.begin(), now_.end(), 0);
    std::fill(done_.begin(), done_.end(), 0);
    // Forward passes flow down, gradients up: sweeps in both directions, until nothing moves.
    std::size_t left = devices * m_ * 3;
    while (left > 0) {
      std::size_t moved = 0;
      for (std::size_t d = 0; d < devices; ++d) moved += advance(words, d);
      for (std::size_t d = devices; d-- > 0;) moved += advance(words, d);
      if (moved == 0) return {kNever, kNever};
      left -= moved;
    }
    Cost cost{0, 0};
    for (std::size_t d = 0; d < devices; ++d) {
      const Ticks span = now_[d] - first_[d];
      const Ticks counted = problem_.makespan ? now_[d] : span;
      if (counted > cost.worst) longest_ = d;
      cost.worst = std::max(cost.worst, counted);
      cost.total += span;
    }
    return cost;
  }

  std::size_t longest() const { return longest_; }

 private:
  std::size_t advance(const Words& words, std::size_t d) {
    const std::vector<std::uint8_t>& word = words[d];
    const Stage& stage = problem_.stages[d];
    const bool last = d + 1 == problem_.stages.size();
    std::size_t* done = &done_[d * 3];
    const std::size_t begin = at_[d];
    Ticks now = now_[d];
    std::size_t at = begin;
    for (; at < word.size(); ++at) {
      const std::uint8_t kind = word[at];
      const std::size_t j = done[kind];
      Ticks ready = 0;
      if (kind == kForward && d > 0) {
        if (done_[(d - 1) * 3 + kForward] <= j) break;
        ready = ends_[((d - 1) * 3 + kForward) * m_ + j] + problem_.stages[d - 1].hop;
      } else if (kind == kBackward && !last) {
        if (done_[(d + 1) * 3 + kBackward] <= j) break;
        ready = ends_[((d + 1) * 3 + kBackward) * m_ + j] + stage.hop;
      }
      const Ticks start = std::max(now, ready);
      if (at == 0) first_[d] = start;
      now = start + (kind == kForward    ? stage.forward
                     : kind == kBackward ? stage.backward
                                         : stage.weight);
      ends_[(d * 3 + kind) * m_ + j] = now;
      ++done[kind];
    }
    at_[d] = at;
    now_[d] = now;
    return at - begin;
  }

  const Problem& problem_;
  std::size_t m_;
  std::vector<Ticks> ends_;  // By device, kind and microbatch.
  std::vector<std::size_t> at_;
  std::vector<Ticks> now_;
  std::vector<Ticks> first_;
  std::vector<std::size_t> done_;  // By device and kind.
  std::size_t longest_ = 0;
};

// F before B before W of each microbatch, and within the limit.
bool legal(const Stage& stage, const std::vector<std::uint8_t>& word) {
  std::int64_t done[3] = {0, 0, 0};
  Bytes held = 0;
  for (const std::uint8_t kind : word) {
    ++done[kind];
    if (kind != kForward && done[kind] > done[kind - 1]) return false;
    held += kind == kForward    ? stage.activation
            : kind == kBackward ? stage.kept - stage.activation
                                : -stage.kept;
    if (held > stage.limit) return false;
  }
  return true;
}

void shift(std::vector<std::uint8_t>& word, std::size_t from, std::size_t to) {
  const auto at = [&](std::size_t i) { return word.begin() + static_cast<std::ptrdiff_t>(i); };
  if (from < to) {
    std::rotate(at(from), at(from + 1), at(to + 1));
  } else {
    std::rotate(at(to), at(from), at(from + 1));
  }
}

}  // namespace

void improve(const Problem& problem, Found& found, std::int64_t budget, std::uint64_t seed,
             Control& control) {
  const std::size_t devices = problem.stages.size();
  const std::size_t length = found.words.front().size();
  Clock clock(problem);
  found.cost = std::min(found.cost, clock.cost(found.words));
  std::size_t longest = clock.longest();
  std::mt19937_64 random(seed);
  const auto below = [&](std::size_t n) { return static_cast<std::size_t>(random() % n); };
  auto left = budget / static_cast<std::int64_t>(devices * length);
  for (; left > 0 && !control.stop(); --left) {
    const std::size_t d = below(2) == 0 ? longest : below(devices);
    std::vector<std::uint8_t>& word = found.words[d];
    const std::size_t from = below(length);
    const std::size_t far = 1 + below(kFarthest);
    const std::size_t to = below(2) == 0 ? from - std::min(from, far)
                                         : std::min(from + far, length - 1);
    if (word[from] == word[to]) continue;
    shift(word, from, to);
    const Cost cost =
        legal(problem.stages[d], word) ? clock.cost(found.words) : Cost{kNever, kNever};
    if (found.cost < cost) {
      shift(word, to, from);
    } else {
      found.cost = cost;
      longest = clock.longest();
    }
  }
}

}  // namespace planner::zero_bubble
