#include "joint_search.hpp"

#include <algorithm>
#include <tuple>
#include <utility>

namespace planner::joint {

bool JointSearch::Entry::operator<(const Entry& other) const {
  return std::tuple(other.level, done, other.used, other.id) <
         std::tuple(level, other.done, used, id);
}

JointSearch::JointSearch(const JointModel& model, Residency& residency, SafeChains& chains,
                         std::int32_t last, const std::vector<std::vector<std::int32_t>>& cuts,
                         std::int64_t level, std::int64_t upper, std::int64_t memory_bytes)
    : model_(model),
      last_(last),
      upper_(upper),
      memory_bytes_(memory_bytes),
      residency_(residency),
      chains_(chains),
      cuts_(model, cuts),
      exchange_(model, residency.done(), last),
      target_(residency.bits()),
      table_(64, Slot{0, kNone}),
      hits_at_(1, Hits(cuts_.words(), 0)) {
  chains_.end_before(last);
  chains_.close_all();
  settled_ = residency_.trail();
  visit(0, std::max(level, cuts_.total()), hits_at_[0], -1, -1);
}

bool JointSearch::full() const {
  // Vectors that double may hold twice what they need, and three times while they grow.
  const std::int64_t per_state =
      static_cast<std::int64_t>(sizeof(State) + 3 * sizeof(Entry) + 8 * cuts_.words());
  constexpr std::int64_t kPerDownset = 3 * sizeof(std::uint32_t) + 6 * sizeof(Slot);
  return states() * per_state + static_cast<std::int64_t>(newest_.size()) * kPerDownset +
                 bits_.bytes() + block_bytes_ >=
             memory_bytes_ ||
         states() >= std::numeric_limits<std::int32_t>::max();
}

Hits JointSearch::hits_of(std::uint32_t id) const {
  const auto first = hits_.begin() + static_cast<std::ptrdiff_t>(id * cuts_.words());
  return Hits(first, first + static_cast<std::ptrdiff_t>(cuts_.words()));
}

void JointSearch::move_to(std::uint32_t id) {
  const State& state = states_[id];
  bits_.read(state.downset, target_);
  residency_.move_to(target_);
  for (std::int32_t i = 0; i < state.absent + state.copied; ++i)
    residency_.mark_as(state.storages[i], i < state.absent ? Mark::kAbsent : Mark::kCopied);
}

// The number of the downset where the search stands, which may be new.
std::uint32_t JointSearch::downset_here() {
  const std::uint64_t hash = residency_.hash();
  const auto tag = static_cast<std::uint32_t>(hash >> 32);
  const std::size_t mask = table_.size() - 1;
  std::size_t i = static_cast<std::size_t>(hash) & mask;
  for (; table_[i].downset != kNone; i = (i + 1) & mask)
    if (table_[i].tag == tag && bits_.equal(table_[i].downset, residency_.bits()))
      return table_[i].downset;
  const auto downset = static_cast<std::uint32_t>(newest_.size());
  table_[i] = {tag, downset};
  bits_.append(residency_.bits());
  newest_.push_back(kNone);
  if (newest_.size() * 2 > table_.size()) grow_table();
  return downset;
}

void JointSearch::grow_table() {
  std::vector<Slot> old(table_.size() * 2, Slot{0, kNone});
  old.swap(table_);
  const std::size_t mask = table_.size() - 1;
  Bits bits = target_;
  for (const Slot& slot : old) {
    if (slot.downset == kNone) continue;
    std::uint64_t hash = 0;
    bits_.read(slot.downset, bits);
    for (std::size_t word = 0; word < bits.size(); ++word)
      hash ^= order::hash_of_word(word, bits[word]);
    std::size_t i = static_cast<std::size_t>(hash) & mask;
    while (table_[i].downset != kNone) i = (i + 1) & mask;
    table_[i] = slot;
  }
}

const std::int32_t* JointSearch::store_storages() {
  const std::size_t length = absent_here_.size() + copied_here_.size() + evicted_.size();
  if (length > block_free_) {
    block_size_ = std::max(kBlock, length);
    block_free_ = block_size_;
    blocks_.push_back(std::make_unique<std::int32_t[]>(block_size_));
    block_bytes_ += static_cast<std::int64_t>(sizeof(std::int32_t) * block_size_);
  }
  if (length == 0) return nullptr;
  std::int32_t* const first = blocks_.back().get() + (block_size_ - block_free_);
  std::int32_t* end = std::copy(absent_here_.begin(), absent_here_.end(), first);
  end = std::copy(copied_here_.begin(), copied_here_.end(), end);
  std::copy(evicted_.begin(), evicted_.end(), end);
  block_free_ -= length;
  return first;
}

// Takes in the state where the search stands unless another is no worse.
void JointSearch::visit(std::int64_t spent, std::int64_t level, const Hits& hits,
                        std::int32_t chosen, std::int32_t parent) {
  if (level >= upper_) return;
  if (cuts_.count() > 0) {
    const std::int64_t due = cuts_.bound(residency_, hits);
    if (due == Cuts::kDeadEnd) return;
    level = std::max(level, spent + due);
    if (level >= upper_) return;
  }
  absent_here_.clear();
  copied_here_.clear();
  std::int64_t weight = 0;
  for (const std::int32_t s : residency_.live()) {
    const Mark mark = residency_.mark(s);
    if (mark == Mark::kNone) continue;
    weight += model_.write_cost(s);
    if (mark == Mark::kAbsent) weight += model_.size[index(s)];
    (mark == Mark::kAbsent ? absent_here_ : copied_here_).push_back(s);
  }
  const std::uint32_t downset = downset_here();
  for (std::uint32_t* link = &newest_[downset]; *link != kNone;) {
    State& other = states_[*link];
    const bool may_lose = other.spent + std::max<std::int64_t>(weight - other.weight, 0) <= spent;
    const bool may_win = spent + std::max<std::int64_t>(other.weight - weight, 0) <= other.spent;
    if (may_lose || may_win) {
      std::int64_t common = 0;
      for (std::int32_t i = 0; i < other.absent + other.copied; ++i) {
        const std::int32_t s = other.storages[i];
        const Mark mark = residency_.mark(s);
        if (mark == Mark::kNone) continue;
        common += model_.write_cost(s);
        if (mark == Mark::kAbsent && i < other.absent) common += model_.size[index(s)];
      }
      if (other.spent + weight - common <= spent) return;
      if (spent + other.weight - common <= other.spent) {
        other.dominated = true;
        *link = other.next;
        continue;
      }
    }
    link = &other.next;
  }
  const auto id = static_cast<std::uint32_t>(states_.size());
  states_.push_back({spent, level, -1, weight, store_storages(),
                     static_cast<std::int32_t>(absent_here_.size()),
                     static_cast<std::int32_t>(copied_here_.size()),
                     static_cast<std::int32_t>(evicted_.size()), downset, newest_[downset],
                     parent, chosen, false});
  newest_[downset] = id;
  hits_.insert(hits_.end(), hits.begin(), hits.end());
  if (residency_.done() < last_) {
    queue_.push({level, residency_.used(), residency_.done(), id});
  } else {
    upper_ = spent;
    best_ = static_cast<std::int32_t>(id);
  }
}

// The child that evicts evicted_ and runs chosen_.
void JointSearch::try_child(std::int64_t spent, std::int64_t due, const Hits& hits) {
  const std::int64_t level = std::max(level_, spent + due);
  if (level <= made_ || level >= upper_) return;
  if (level > limit_) {
    next_level_ = std::min(next_level_, level);
    return;
  }
  const Residency::Position here = residency_.position();
  for (const std::int32_t s : evicted_) residency_.evict(s);
  residency_.run(chosen_);
  chains_.close(evicted_);
  visit(spent, level, hits, chosen_, parent_);
  residency_.undo_to(here);
}

// Goes through the sets of candidates from the i-th on that cover the shortage with no member
// superfluous. False if stopped half way.
bool JointSearch::evict_and_try(std::size_t i, std::int64_t shortage, std::int64_t spent,
                                std::int64_t due, Control& control) {
  if (shortage <= 0) {
    // The last one is the smallest: without it the others must not do.
    if (evicted_.empty() || -shortage < model_.rounded[index(evicted_.back())])
      try_child(spent, due, hits_at_[evicted_.size()]);
    return !full() && !control.stop();
  }
  for (; i < candidates_.size() && bytes_from_[i] >= shortage; ++i) {
    const std::size_t place = index(candidates_[i]);
    const std::int32_t s = live_sorted_[place];
    const std::vector<std::int32_t>& better = exchange_.before(place);
    if (!std::all_of(better.begin(), better.end(),
                     [this](std::int32_t t) { return leaves_[index(t)] != 0; }))
      continue;
    const std::size_t depth = evicted_.size() + 1;
    if (hits_at_.size() <= depth) hits_at_.resize(depth + 1);
    hits_at_[depth] = hits_at_[depth - 1];
    const std::int64_t more = spent + residency_.cost_of_absence(s);
    const std::int64_t less = due - cuts_.hit(s, hits_at_[depth]);
    const std::int64_t level = std::max(level_, more + less);
    if (level >= upper_) continue;
    if (level > limit_) {
      next_level_ = std::min(next_level_, level);
      continue;
    }
    evicted_.push_back(s);
    leaves_[place] = 1;
    const bool go_on =
        evict_and_try(i + 1, shortage - model_.rounded[index(s)], more, less, control);
    evicted_.pop_back();
    leaves_[place] = 0;
    if (!go_on) return false;
  }
  return true;
}

// Fills candidates_ with what may leave for v, and bytes_from_.
void JointSearch::choose_candidates(std::int32_t v) {
  if (!sorted_) {
    live_sorted_ = residency_.live();
    exchange_.sort(residency_, live_sorted_);
    sorted_ = true;
  }
  // What may not leave for v need not leave before anything else.
  leaves_.assign(live_sorted_.size(), 1);
  candidates_.clear();
  for (std::size_t i = 0; i < live_sorted_.size(); ++i) {
    if (!residency_.may_leave(live_sorted_[i], v)) continue;
    leaves_[i] = 0;
    candidates_.push_back(static_cast<std::int32_t>(i));
  }
  bytes_from_.assign(candidates_.size(), 0);
  std::int64_t bytes = 0;
  for (std::size_t i = candidates_.size(); i-- > 0;)
    bytes_from_[i] = bytes += model_.rounded[index(live_sorted_[index(candidates_[i])])];
}

// Makes the children up to `level` that do not exist. False if stopped half way.
bool JointSearch::expand(std::uint32_t id, std::int64_t level, Control& control) {
  move_to(id);
  chains_.watch();
  parent_ = static_cast<std::int32_t>(id);
  level_ = states_[id].level;
  made_ = states_[id].made;
  limit_ = level;
  next_level_ = kInfinite;
  hits_at_[0] = hits_of(id);
  const std::int64_t spent = states_[id].spent;
  const std::int64_t due = cuts_.due(hits_at_[0]);
  children_ = residency_.ready();
  std::sort(children_.begin(), children_.end());
  sorted_ = false;
  for (const std::int32_t v : children_) {
    if (full() || control.stop_now()) return false;
    const std::int64_t shortage = residency_.shortage(v);
    if (shortage == Residency::kNever) continue;
    chosen_ = v;
    evicted_.clear();
    if (shortage > 0) choose_candidates(v);
    if (!evict_and_try(0, shortage, spent, due, control)) return false;
  }
  return true;
}

JointSearch::Progress JointSearch::run(Control& control) {
  while (!queue_.empty()) {
    const Entry entry = queue_.top();
    if (entry.level >= upper_) {
      queue_ = {};
      break;
    }
    if (states_[entry.id].dominated) {
      queue_.pop();
      continue;
    }
    if (full()) return Progress::kLimit;
    if (control.stop_now()) return Progress::kStopped;
    queue_.pop();
    if (!expand(entry.id, entry.level, control)) {
      queue_.push(entry);
      return full() ? Progress::kLimit : Progress::kStopped;
    }
    ++expanded_;
    states_[entry.id].made = entry.level;
    if (next_level_ < upper_) queue_.push({next_level_, entry.used, entry.done, entry.id});
  }
  return Progress::kSolved;
}

std::int64_t JointSearch::bound() const {
  return queue_.empty() ? upper_ : std::min(upper_, queue_.top().level);
}

std::optional<std::int64_t> JointSearch::traffic() const {
  if (best_ < 0) return std::nullopt;
  return states_[static_cast<std::size_t>(best_)].spent;
}

std::vector<std::int32_t> JointSearch::order() {
  std::vector<std::uint32_t> path;
  for (std::int32_t id = best_; id >= 0; id = states_[static_cast<std::size_t>(id)].parent)
    path.push_back(static_cast<std::uint32_t>(id));
  std::reverse(path.begin(), path.end());
  std::vector<std::int32_t> order = settled_;
  for (std::size_t i = 0; i + 1 < path.size(); ++i) {
    move_to(path[i]);
    chains_.watch();
    const State& child = states_[path[i + 1]];
    const std::int32_t* const left = child.storages + child.absent + child.copied;
    evicted_.assign(left, left + child.left);
    for (const std::int32_t s : evicted_) residency_.evict(s);
    residency_.run(child.chosen);
    chains_.close(evicted_);
    order.insert(order.end(), residency_.trail().begin(), residency_.trail().end());
  }
  return order;
}

}  // namespace planner::joint
