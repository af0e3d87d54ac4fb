// Safe chains: operators that some cheapest completion runs next, so that nothing else need be
// tried.
//
// A chain x1, ..., xk (x1 ready, each next operator ready once the one before has run) is safe if
//   - its transients fit without any eviction, and an absent operand dies in the chain (which reads
//     it once, as any completion has to);
//   - the storages P that it brings to life and leaves alive come to life by xk, by no other
//     operator, and are written by no other;
//   - P is empty, or at each moment before x1, between two of them and before xk some *stand-in* is
//     live: a storage that the chain makes die, live before it or born in it, without any copy, and
//     not smaller than all of P together, in exact and in rounded bytes.
// Proof. Take any completion, in which the operators of the chain run at times t1 < ... < tk, and
// pick one stand-in per moment. Move the chain to the front, where it fits; storages it makes die
// are gone from then on, and are not read again. Until tk keep P resident exactly while all picked
// stand-ins that would be live are resident in the old plan; leave everything else as it was, reads
// for the chain's sake included.
//   - Bytes: at every step P takes the place of a resident stand-in or of nothing. As more has run,
//     later operators bring less to life and gain no less by overwriting. What stays alive of the
//     chain's operands is resident as before.
//   - Reads: P comes back when an absent stand-in does (they die resident, so the last picked one
//     is there when xk runs, and P from then on as before). Each absence of P ends with a read of
//     its own of a stand-in at least as large.
//   - Writes: P is written at its first absence, which is the first of a stand-in, and that one,
//     without a copy, was written as well, at no less.
// The sum of stand-ins would not do in place of the largest: half of them may be absent.
//   - In parts: an operator of the chain may write a storage of several writers only if some writer
//     has run before, for else it would have to stay from an earlier moment on than in the old
//     plan. Its last writer runs no later than before.
//   - First operator: nothing has left yet, and what has to be resident while the old plan's first
//     operator runs may leave one operator later than before: it need not.
//   - Last operator: kept storages are resident while it runs. Only xk can be the last one of the
//     old plan, if it has no successors; the chain may then not end with it before everything else
//     has run, for another operator would be the last.
#include <algorithm>

#include "joint_residency.hpp"

namespace planner::joint {

// Storage s dies at chain_[step]: a stand-in before that step, from its birth on.
void Residency::note_death(std::int32_t s, std::size_t step) {
  std::size_t since = 0;
  for (const Created& created : created_)
    if (created.storage == s) since = created.step + 1;
  if (mark_[index(s)] != Mark::kNone || model_.has_copy[index(s)]) return;
  for (std::size_t i = since; i <= step; ++i) {
    std::int32_t& largest = stand_in_[i];
    if (largest < 0 || model_.size[index(largest)] < model_.size[index(s)]) largest = s;
  }
}

// Whether all that is alive of what the chain brought to life is the work of y, its last operator
// up to now, and has stand-ins; and whether what it has read is dead.
bool Residency::is_safe_after(std::int32_t y) {
  std::int64_t size = 0;
  std::int64_t rounded = 0;
  for (const Created& created : created_) {
    const std::int32_t s = created.storage;
    if (remaining_[index(s)] == 0) continue;
    if (created.step + 1 != chain_.size() || model_.starters[s].size() > 1) return false;
    size += model_.size[index(s)];
    rounded += model_.rounded[index(s)];
  }
  for (const std::int32_t s : read_)
    if (remaining_[index(s)] != 0) return false;
  if (rounded > 0)
    for (const std::int32_t s : stand_in_)
      if (s < 0 || model_.size[index(s)] < size || model_.rounded[index(s)] < rounded) return false;
  return may_end_with(y);
}

bool Residency::may_end_with(std::int32_t y) const {
  if (kept_.empty() || !model_.successors[y].empty()) return true;
  if (done_ + static_cast<std::int32_t>(chain_.size()) < model_.operators) return false;
  return std::all_of(kept_.begin(), kept_.end(),
                     [this](std::int32_t s) { return mark_[index(s)] != Mark::kAbsent; });
}

std::int64_t Residency::find_chain(std::int32_t x, std::int32_t last) {
  chain_.clear();
  examined_.clear();
  waiting_.clear();
  created_.clear();
  read_.clear();
  stand_in_.clear();
  std::int64_t net = 0;
  std::int64_t rise = 0;
  bool safe = false;
  for (std::int32_t y = x; y >= 0;) {
    examined_.push_back(y);
    std::int64_t born = 0;
    std::int64_t reads = 0;
    bool fits_in = true;
    for (const std::int32_t s : model_.uses[y]) {
      if (started_[index(s)] == 0) {
        fits_in &= model_.starts[y].contains(s);
        born += model_.rounded[index(s)];
        created_.push_back({s, chain_.size()});
      } else if (mark_[index(s)] == Mark::kAbsent &&
                 std::find(read_.begin(), read_.end(), s) == read_.end()) {
        reads += model_.rounded[index(s)];
        read_.push_back(s);
      }
    }
    for (const std::int32_t s : part_writes_[y]) fits_in &= written_[index(s)] > 0;
    if (!fits_in) break;
    rise = std::max(rise, net + reads + born - std::min(gain(y), born));
    net += reads + born;
    stand_in_.push_back(-1);
    count(y);
    for (const std::int32_t s : model_.uses[y]) {
      if (remaining_[index(s)] != 0) continue;
      net -= model_.rounded[index(s)];
      note_death(s, chain_.size());
    }
    chain_.push_back(y);
    if (is_safe_after(y)) {
      safe = true;
      break;
    }
    std::int32_t next = -1;
    if (chain_.size() < kChainLimit) {
      std::int64_t least = std::numeric_limits<std::int64_t>::max();
      for (const std::int32_t q : model_.successors[y]) {
        if (q >= last) continue;
        if (missing_[index(q)] != 0) {
          waiting_.push_back(q);
          continue;
        }
        std::int64_t growth = 0;
        for (const std::int32_t s : model_.uses[q]) {
          if (started_[index(s)] == 0) growth += model_.rounded[index(s)];
          if (remaining_[index(s)] == 1) growth -= model_.rounded[index(s)];
        }
        examined_.push_back(q);
        if (growth >= least) continue;
        least = growth;
        next = q;
      }
    }
    y = next;
  }
  for (std::size_t i = chain_.size(); i-- > 0;) uncount(chain_[i]);
  return safe ? rise : kNever;
}

}  // namespace planner::joint
