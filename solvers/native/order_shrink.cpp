#include "order_shrink.hpp"

#include <algorithm>
#include <limits>
#include <utility>
#include <vector>

#include "order_downset.hpp"

namespace planner::order {

namespace {

class SuffixSearch {
 public:
  SuffixSearch(const OrderModel& model, std::int64_t level, const Order& prefix,
               Control& control)
      : model_(model),
        level_(level),
        control_(control),
        downset_(model),
        successors_left_(index(model.operators)),
        movable_(index(model.operators), 1) {
    for (std::int32_t v = 0; v < model.operators; ++v) {
      downset_.run(v);
      successors_left_[index(v)] = model.successors[v].size();
    }
    for (const std::int32_t v : prefix) movable_[index(v)] = 0;
  }

  Order run() {
    std::vector<std::int32_t> ends;
    for (std::int32_t v = 0; v < model_.operators; ++v)
      if (successors_left_[index(v)] == 0) ends.push_back(v);
    // A chain may become safe when another one has gone, so look again until nothing changes.
    for (bool found = true; found;) {
      found = false;
      std::vector<std::int32_t> next_ends;
      for (const std::int32_t x : ends) {
        if (control_.stop_now()) return reversed();
        if (!take_chain(x)) {
          next_ends.push_back(x);
          continue;
        }
        found = true;
        for (const std::int32_t y : chain_)
          for (const std::int32_t p : model_.predecessors[y])
            if (successors_left_[index(p)] == 0 && downset_.contains(p)) next_ends.push_back(p);
      }
      std::sort(next_ends.begin(), next_ends.end());
      next_ends.erase(std::unique(next_ends.begin(), next_ends.end()), next_ends.end());
      ends = std::move(next_ends);
    }
    return reversed();
  }

 private:
  static constexpr std::size_t kChainLimit = 128;

  Order reversed() { return {backwards_.rbegin(), backwards_.rend()}; }

  // Moves the chain that starts at the end x to the suffix if it is safe; otherwise nothing
  // changes.
  bool take_chain(std::int32_t x) {
    chain_.clear();
    if (!downset_.contains(x)) return false;
    const std::int64_t live = downset_.live();
    for (std::int32_t y = x; y >= 0;) {
      if (!movable_[index(y)] || chain_.size() == kChainLimit) break;
      remove(y);
      if (downset_.transient(y) > level_) break;
      if (downset_.live() <= live) {
        backwards_.insert(backwards_.end(), chain_.begin(), chain_.end());
        return true;
      }
      y = next_of(y);
    }
    while (!chain_.empty()) restore();
    return false;
  }

  // Of the predecessors that have no successor left, the one without which least is live.
  std::int32_t next_of(std::int32_t y) {
    std::int32_t next = -1;
    std::int64_t least = std::numeric_limits<std::int64_t>::max();
    for (const std::int32_t p : model_.predecessors[y]) {
      if (successors_left_[index(p)] != 0) continue;
      downset_.unrun(p);
      const std::int64_t live = downset_.live();
      downset_.run(p);
      if (live >= least) continue;
      least = live;
      next = p;
    }
    return next;
  }

  void remove(std::int32_t y) {
    downset_.unrun(y);
    for (const std::int32_t p : model_.predecessors[y]) --successors_left_[index(p)];
    chain_.push_back(y);
  }

  void restore() {
    const std::int32_t y = chain_.back();
    chain_.pop_back();
    for (const std::int32_t p : model_.predecessors[y]) ++successors_left_[index(p)];
    downset_.run(y);
  }

  const OrderModel& model_;
  const std::int64_t level_;
  Control& control_;
  Downset downset_;  // what is not in the suffix
  std::vector<std::int32_t> successors_left_;
  std::vector<char> movable_;
  std::vector<std::int32_t> chain_;
  Order backwards_;
};

}  // namespace

Settled settled_operators(const OrderModel& model, std::int64_t level, Control& control) {
  Settled settled;
  Downset downset(model);
  downset.close(level, settled.prefix);
  settled.suffix = SuffixSearch(model, level, settled.prefix, control).run();
  return settled;
}

}  // namespace planner::order
