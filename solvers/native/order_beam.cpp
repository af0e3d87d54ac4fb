#include "order_beam.hpp"

#include <algorithm>
#include <tuple>
#include <utility>
#include <vector>

namespace planner::order {

namespace {

// Of a state with very many ready operators only the most promising are tried.
constexpr std::size_t kMaxChildren = 64;

struct Candidate {
  std::int64_t level;
  std::int64_t live;
  std::int32_t parent;  // in the trace
  std::int32_t chosen;
  std::uint64_t hash;
  Bits bits;
};

bool better(const Candidate& a, const Candidate& b) {
  return std::tie(a.level, a.live) < std::tie(b.level, b.live);
}

// The best candidates with one number of operators, no downset twice.
class Layer {
 public:
  void insert(const Downset& downset, const Branch& branch, std::int32_t parent,
              std::size_t width) {
    Candidate candidate{branch.level, downset.live(), parent, branch.chosen, downset.hash(), {}};
    const auto same = std::find_if(candidates_.begin(), candidates_.end(), [&](const Candidate& c) {
      return c.hash == candidate.hash && c.bits == downset.bits();
    });
    auto place = same;
    if (same == candidates_.end()) {
      if (candidates_.size() < width) {
        candidate.bits = downset.bits();
        candidates_.push_back(std::move(candidate));
        return;
      }
      if (width == 0) return;
      place = std::max_element(candidates_.begin(), candidates_.end(), better);
    }
    if (!better(candidate, *place)) return;
    candidate.bits = downset.bits();
    *place = std::move(candidate);
  }

  std::size_t size() const { return candidates_.size(); }
  std::vector<Candidate> take() { return std::move(candidates_); }

 private:
  std::vector<Candidate> candidates_;
};

struct Trace {
  Branch branch;
  std::int32_t parent;
};

std::vector<Branch> branches_to(const std::vector<Trace>& trace, std::int32_t end) {
  std::vector<Branch> branches;
  for (std::int32_t i = end; trace[index(i)].parent >= 0; i = trace[index(i)].parent)
    branches.push_back(trace[index(i)].branch);
  std::reverse(branches.begin(), branches.end());
  return branches;
}

}  // namespace

std::optional<Order> beam_order(const OrderModel& model, std::int64_t level, std::int64_t upper,
                                Rules rules, std::int32_t width, std::int64_t memory_bytes,
                                Control& control) {
  if (level >= upper) return std::nullopt;
  Downset downset(model);
  const std::size_t most_candidates =
      static_cast<std::size_t>(std::max(memory_bytes, std::int64_t{0})) /
      (sizeof(Candidate) + 8 * downset.bits().size());
  std::size_t candidates = 1;
  std::vector<std::int32_t> trail;
  finish_branch(downset, level, rules, trail);
  std::vector<Layer> layers(index(model.operators) + 1);
  layers[index(downset.done())].insert(downset, {level, -1}, -1, 1);

  std::vector<Trace> trace;
  std::vector<std::int32_t> children;
  std::int32_t best = -1;
  for (std::int32_t done = 0; done <= model.operators; ++done) {
    const std::vector<Candidate> layer = layers[index(done)].take();
    candidates -= layer.size();
    for (const Candidate& state : layer) {
      if (state.level >= upper) continue;
      const auto id = static_cast<std::int32_t>(trace.size());
      trace.push_back({{state.level, state.chosen}, state.parent});
      if (done == model.operators) {
        upper = state.level;
        best = id;
        continue;
      }
      downset.move_to(state.bits);
      children = downset.ready();
      std::sort(children.begin(), children.end());
      if (children.size() > kMaxChildren) {
        std::stable_sort(children.begin(), children.end(), [&](std::int32_t a, std::int32_t b) {
          return std::tuple(std::max(state.level, downset.transient(a)), downset.growth(a)) <
                 std::tuple(std::max(state.level, downset.transient(b)), downset.growth(b));
        });
        children.resize(kMaxChildren);
      }
      for (const std::int32_t v : children) {
        if (control.stop_now()) return std::nullopt;
        const std::int64_t highest = begin_branch(downset, v, rules, trail);
        const std::int64_t reached = std::max(state.level, highest);
        if (reached >= upper) continue;
        finish_branch(downset, reached, rules, trail);
        Layer& next = layers[index(downset.done())];
        const std::size_t before = next.size();
        // Without room for more it may still replace a worse one.
        next.insert(downset, {reached, v}, id,
                    candidates < most_candidates ? index(width) : before);
        candidates += next.size() - before;
        for (std::size_t i = trail.size(); i-- > 0;) downset.unrun(trail[i]);
      }
    }
  }
  if (best < 0) return std::nullopt;
  return replay(model, level, rules, branches_to(trace, best));
}

}  // namespace planner::order
