#include "order_search.hpp"

#include <algorithm>
#include <limits>
#include <tuple>
#include <utility>

namespace planner::order {

namespace {

constexpr std::uint64_t kFull = ~std::uint64_t{0};

std::pair<std::uint32_t, std::uint32_t> mixed_words(const Bits& bits) {
  std::size_t first = 0;
  std::size_t last = bits.size();
  while (first < last && bits[first] == kFull) ++first;
  while (last > first && bits[last - 1] == 0) --last;
  return {static_cast<std::uint32_t>(first), static_cast<std::uint32_t>(last)};
}

}  // namespace

void BitsStore::append(const Bits& bits) {
  const auto [first, last] = mixed_words(bits);
  const std::size_t length = last - first;
  if (blocks_.empty() || length > free_words_) {
    free_words_ = std::max(kBlockWords, length);
    blocks_.push_back(std::make_unique<std::uint64_t[]>(free_words_));
    block_end_ = blocks_.back().get() + free_words_;
    bytes_ += static_cast<std::int64_t>(8 * free_words_);
  }
  std::uint64_t* words = block_end_ - free_words_;
  std::copy(bits.begin() + first, bits.begin() + last, words);
  free_words_ -= length;
  windows_.push_back({words, first, last});
  bytes_ += static_cast<std::int64_t>(sizeof(Window));
}

bool BitsStore::equal(std::uint32_t id, const Bits& bits) const {
  const Window& window = windows_[id];
  return std::equal(window.words, window.words + (window.last - window.first),
                    bits.begin() + window.first) &&
         std::pair(window.first, window.last) == mixed_words(bits);
}

void BitsStore::read(std::uint32_t id, Bits& bits) const {
  const Window& window = windows_[id];
  std::fill(bits.begin(), bits.begin() + window.first, kFull);
  std::copy(window.words, window.words + (window.last - window.first),
            bits.begin() + window.first);
  std::fill(bits.begin() + window.last, bits.end(), 0);
}

bool OrderSearch::Entry::operator<(const Entry& other) const {
  return std::tuple(other.level, done, other.live, other.id) <
         std::tuple(level, other.done, live, id);
}

OrderSearch::OrderSearch(const OrderModel& model, std::int64_t level, std::int64_t upper,
                         Rules rules, std::int64_t memory_bytes)
    : model_(model),
      start_level_(level),
      upper_(upper),
      rules_(rules),
      memory_bytes_(memory_bytes),
      downset_(model),
      target_(downset_.bits()),
      table_(1024, Slot{0, kEmpty}) {
  if (level >= upper) return;
  finish_branch(downset_, level, rules, trail_);
  visit(level, -1, -1);
}

bool OrderSearch::full() const {
  // Vectors that double may hold twice what they need, and three times while they grow.
  constexpr std::int64_t kBytesPerState = sizeof(State) + 6 * sizeof(Slot);
  constexpr std::int64_t kBytesPerEntry = 3 * sizeof(Entry);
  // A state that was reached again at a lower level is queued twice.
  const auto entries = std::max(states(), static_cast<std::int64_t>(queue_.size()));
  return states() * kBytesPerState + entries * kBytesPerEntry + bits_.bytes() >= memory_bytes_ ||
         states() >= std::numeric_limits<std::int32_t>::max();
}

// Takes in the downset where the search stands, reached from `parent`, unless it was reached at
// this level or below before.
void OrderSearch::visit(std::int64_t level, std::int32_t chosen, std::int32_t parent) {
  const std::uint64_t hash = downset_.hash();
  const auto tag = static_cast<std::uint32_t>(hash >> 32);
  const std::size_t mask = table_.size() - 1;
  std::size_t i = static_cast<std::size_t>(hash) & mask;
  for (; table_[i].id != kEmpty; i = (i + 1) & mask) {
    const Slot& slot = table_[i];
    if (slot.tag != tag || !bits_.equal(slot.id, downset_.bits())) continue;
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
    bits_.read(slot.id, target_);
    for (std::size_t word = 0; word < target_.size(); ++word)
      hash ^= hash_of_word(word, target_[word]);
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
  bits_.read(id, target_);
  downset_.move_to(target_);
  children_ = downset_.ready();
  std::sort(children_.begin(), children_.end());
  for (const std::int32_t v : children_) {
    if (full() || control.stop_now()) return false;
    const std::int64_t highest = begin_branch(downset_, v, rules_, trail_);
    if (highest == Downset::kWaits) continue;
    const std::int64_t reached = std::max(level, highest);
    if (reached >= upper_) {
      next_level_ = std::min(next_level_, reached);
      continue;
    }
    finish_branch(downset_, reached, rules_, trail_);
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
  for (std::int32_t id = best_; states_[index(id)].parent >= 0; id = states_[index(id)].parent)
    branches.push_back({states_[index(id)].level, states_[index(id)].chosen});
  std::reverse(branches.begin(), branches.end());
  return replay(model_, start_level_, rules_, branches);
}

}  // namespace planner::order
