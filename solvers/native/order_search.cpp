#include "order_search.hpp"

#include <algorithm>
#include <cstring>
#include <limits>
#include <tuple>

namespace planner::order {

BitsStore::BitsStore(std::size_t words)
    : words_(words), per_block_(std::max<std::size_t>(1, (std::size_t{1} << 15) / std::max<std::size_t>(1, words))) {}

const std::uint64_t* BitsStore::operator[](std::uint32_t id) const {
  return blocks_[id / per_block_].get() + (id % per_block_) * words_;
}

void BitsStore::append(const Bits& bits) {
  if (count_ % per_block_ == 0)
    blocks_.push_back(std::make_unique<std::uint64_t[]>(per_block_ * words_));
  std::copy(bits.begin(), bits.end(), blocks_.back().get() + (count_ % per_block_) * words_);
  ++count_;
}

bool OrderSearch::Entry::operator<(const Entry& other) const {
  return std::tuple(other.level, done, other.live, other.id) <
         std::tuple(level, other.done, live, id);
}

OrderSearch::OrderSearch(const OrderModel& model, std::int64_t level, std::int64_t upper,
                         bool dominance, std::int64_t memory_bytes)
    : model_(model),
      start_level_(level),
      upper_(upper),
      dominance_(dominance),
      downset_(model),
      bits_(downset_.bits().size()),
      table_(1024, Slot{0, kEmpty}) {
  // Vectors that double may hold twice what they need, and three times while they grow.
  const auto bytes_per_state = static_cast<std::int64_t>(
      8 * downset_.bits().size() + sizeof(State) + 3 * sizeof(Entry) + 6 * sizeof(Slot));
  state_limit_ = std::min<std::int64_t>(memory_bytes / bytes_per_state,
                                        std::numeric_limits<std::int32_t>::max() - 1);
  if (level >= upper) return;
  if (dominance) downset_.close(level, trail_);
  visit(level, -1, -1);
}

// Takes in the downset where the search stands, reached from `parent`, unless it was reached at
// this level or below before.
void OrderSearch::visit(std::int64_t level, std::int32_t chosen, std::int32_t parent) {
  const std::uint64_t hash = downset_.hash();
  const auto tag = static_cast<std::uint32_t>(hash >> 32);
  const std::size_t mask = table_.size() - 1;
  std::size_t i = static_cast<std::size_t>(hash) & mask;
  const std::size_t bytes = 8 * downset_.bits().size();
  for (; table_[i].id != kEmpty; i = (i + 1) & mask) {
    const Slot& slot = table_[i];
    if (slot.tag != tag || std::memcmp(bits_[slot.id], downset_.bits().data(), bytes) != 0)
      continue;
    State& known = states_[slot.id];
    if (known.level <= level) return;
    // Reached higher before, and so not expanded yet: its entry in the queue is outdated now.
    known.level = level;
    known.chosen = chosen;
    known.parent = parent;
    announce(slot.id);
    return;
  }
  const auto id = static_cast<std::uint32_t>(states_.size());
  table_[i] = {tag, id};
  bits_.append(downset_.bits());
  states_.push_back({level, downset_.live(), downset_.done(), chosen, parent, false});
  announce(id);
  if (states_.size() * 2 > table_.size()) grow_table();
}

// Queues the state, or keeps it as the best order if nothing is left to run.
void OrderSearch::announce(std::uint32_t id) {
  const State& state = states_[id];
  if (state.done < model_.operators) {
    queue_.push({state.level, state.live, state.done, id});
  } else {
    upper_ = state.level;
    best_ = static_cast<std::int32_t>(id);
  }
}

void OrderSearch::grow_table() {
  std::vector<Slot> old(table_.size() * 2, Slot{0, kEmpty});
  old.swap(table_);
  const std::size_t mask = table_.size() - 1;
  for (const Slot& slot : old) {
    if (slot.id == kEmpty) continue;
    std::uint64_t hash = 0;
    const std::uint64_t* bits = bits_[slot.id];
    for (std::size_t word = 0; word < downset_.bits().size(); ++word)
      hash ^= hash_of_word(word, bits[word]);
    std::size_t i = static_cast<std::size_t>(hash) & mask;
    while (table_[i].id != kEmpty) i = (i + 1) & mask;
    table_[i] = slot;
  }
}

void OrderSearch::drop_outdated() {
  while (!queue_.empty()) {
    const Entry& top = queue_.top();
    if (top.level < upper_ && top.level == states_[top.id].level && !states_[top.id].expanded)
      return;
    queue_.pop();
  }
}

// Visits all children with a level below upper_. False if stopped half way.
bool OrderSearch::expand(std::uint32_t id, Control& control) {
  const std::int64_t level = states_[id].level;
  downset_.move_to(bits_[id]);
  children_ = downset_.ready();
  std::sort(children_.begin(), children_.end());
  for (const std::int32_t v : children_) {
    if (full() || control.stop()) return false;
    const std::int64_t reached = std::max(level, downset_.transient(v));
    if (reached >= upper_) continue;
    trail_.assign(1, v);
    downset_.run(v);
    if (dominance_) downset_.close(reached, trail_);
    visit(reached, v, static_cast<std::int32_t>(id));
    for (std::size_t i = trail_.size(); i-- > 0;) downset_.unrun(trail_[i]);
  }
  return true;
}

OrderSearch::Progress OrderSearch::run(std::int64_t expansions, Control& control) {
  for (;;) {
    drop_outdated();
    if (queue_.empty()) return Progress::kSolved;
    if (full() || expansions-- <= 0) return Progress::kLimit;
    const std::uint32_t id = queue_.top().id;
    if (!expand(id, control)) return full() ? Progress::kLimit : Progress::kStopped;
    states_[id].expanded = true;
    ++expanded_;
  }
}

std::int64_t OrderSearch::bound() const {
  return queue_.empty() ? upper_ : std::min(upper_, queue_.top().level);
}

std::optional<Order> OrderSearch::order() const {
  if (best_ < 0) return std::nullopt;
  std::vector<Branch> branches;
  for (std::int32_t id = best_; states_[static_cast<std::size_t>(id)].parent >= 0;
       id = states_[static_cast<std::size_t>(id)].parent)
    branches.push_back(
        {states_[static_cast<std::size_t>(id)].level, states_[static_cast<std::size_t>(id)].chosen});
  std::reverse(branches.begin(), branches.end());
  return replay(model_, start_level_, dominance_, branches);
}

}  // namespace planner::order
