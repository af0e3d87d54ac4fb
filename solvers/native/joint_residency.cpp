#include "joint_residency.hpp"

#include <algorithm>

#include "order_bits.hpp"

namespace planner::joint {

Residency::Residency(const JointModel& model)
    : model_(model),
      bits_((index(model.operators) + 63) / 64, 0),
      ready_position_(index(model.operators), -1),
      alive_position_(index(model.storages()), -1),
      missing_(index(model.operators)),
      remaining_(index(model.storages())),
      started_(index(model.storages())),
      written_(index(model.storages()), 0),
      mark_(index(model.storages()), Mark::kNone) {
  for (std::size_t word = 0; word < bits_.size(); ++word) hash_ ^= order::hash_of_word(word, 0);
  Rows several_writers;
  std::vector<std::int32_t> row;
  for (std::int32_t s = 0; s < model.storages(); ++s) {
    remaining_[index(s)] = model.users[s].size() + model.kept[index(s)];
    started_[index(s)] = model.starters[s].empty() ? 1 : 0;
    const bool counts = model.rounded[index(s)] > 0;
    if (counts && model.starters[s].empty()) add_alive(s);
    if (counts && model.kept[index(s)]) kept_.push_back(s);
    row.clear();
    if (counts && model.writers[s].size() > 1)
      row.assign(model.writers[s].begin(), model.writers[s].end());
    several_writers.add_row(row);
  }
  part_writes_ = order::transposed(several_writers, model.operators);
  for (std::int32_t v = 0; v < model.operators; ++v) {
    row.clear();
    for (const std::int32_t s : model.in_place[v])
      if (model.uses[v].contains(s)) row.push_back(s);
    overwrites_.add_row(row);
    missing_[index(v)] = model.predecessors[v].size();
    if (missing_[index(v)] == 0) add_ready(v);
  }
}

void Residency::flip(std::int32_t v) {
  const std::size_t word = index(v) >> 6;
  hash_ ^= order::hash_of_word(word, bits_[word]);
  bits_[word] ^= std::uint64_t{1} << (v & 63);
  hash_ ^= order::hash_of_word(word, bits_[word]);
}

void Residency::add_ready(std::int32_t v) {
  ready_position_[index(v)] = static_cast<std::int32_t>(ready_.size());
  ready_.push_back(v);
}

void Residency::remove_ready(std::int32_t v) {
  const std::int32_t last = ready_.back();
  ready_[index(ready_position_[index(v)])] = last;
  ready_position_[index(last)] = ready_position_[index(v)];
  ready_.pop_back();
  ready_position_[index(v)] = -1;
}

void Residency::add_alive(std::int32_t s) {
  alive_position_[index(s)] = static_cast<std::int32_t>(alive_.size());
  alive_.push_back(s);
  live_bytes_ += model_.rounded[index(s)];
}

void Residency::remove_alive(std::int32_t s) {
  const std::int32_t last = alive_.back();
  alive_[index(alive_position_[index(s)])] = last;
  alive_position_[index(last)] = alive_position_[index(s)];
  alive_.pop_back();
  alive_position_[index(s)] = -1;
  live_bytes_ -= model_.rounded[index(s)];
}

// The counters of storages alone: as if v had run.
void Residency::count(std::int32_t v) {
  for (const std::int32_t s : model_.uses[v]) --remaining_[index(s)];
  for (const std::int32_t s : model_.starts[v]) ++started_[index(s)];
  for (const std::int32_t q : model_.successors[v]) --missing_[index(q)];
}

void Residency::uncount(std::int32_t v) {
  for (const std::int32_t s : model_.uses[v]) ++remaining_[index(s)];
  for (const std::int32_t s : model_.starts[v]) --started_[index(s)];
  for (const std::int32_t q : model_.successors[v]) ++missing_[index(q)];
}

void Residency::join(std::int32_t v) {
  remove_ready(v);
  flip(v);
  ++done_;
  for (const std::int32_t s : model_.starts[v])
    if (started_[index(s)] == 0) add_alive(s);
  count(v);
  for (const std::int32_t s : model_.uses[v])
    if (remaining_[index(s)] == 0) remove_alive(s);
  for (const std::int32_t s : part_writes_[v]) ++written_[index(s)];
  for (const std::int32_t q : model_.successors[v])
    if (missing_[index(q)] == 0) add_ready(q);
}

void Residency::leave(std::int32_t v) {
  for (const std::int32_t q : model_.successors[v])
    if (missing_[index(q)] == 0) remove_ready(q);
  for (const std::int32_t s : part_writes_[v]) --written_[index(s)];
  for (const std::int32_t s : model_.uses[v])
    if (remaining_[index(s)] == 0) add_alive(s);
  uncount(v);
  for (const std::int32_t s : model_.starts[v])
    if (started_[index(s)] == 0) remove_alive(s);
  --done_;
  flip(v);
  add_ready(v);
}

bool Residency::is_pinned(std::int32_t s) const {
  return written_[index(s)] > 0 && written_[index(s)] < model_.writers[s].size();
}

// What comes to life with v is not there to be overwritten by it.
std::int64_t Residency::gain(std::int32_t v) const {
  std::int64_t bytes = 0;
  for (const std::int32_t s : overwrites_[v])
    if (remaining_[index(s)] == 1 && started_[index(s)] > 0)
      bytes = std::max(bytes, model_.rounded[index(s)]);
  return bytes;
}

std::int64_t Residency::shortage(std::int32_t v) const {
  std::int64_t born = 0;
  std::int64_t reads = 0;
  for (const std::int32_t s : model_.uses[v]) {
    if (started_[index(s)] == 0) {
      if (!model_.starts[v].contains(s)) return kNever;
      born += model_.rounded[index(s)];
    } else if (mark_[index(s)] == Mark::kAbsent) {
      reads += model_.rounded[index(s)];
    }
  }
  if (done_ + 1 == model_.operators)
    for (const std::int32_t s : kept_)
      if (mark_[index(s)] == Mark::kAbsent && !model_.uses[v].contains(s))
        reads += model_.rounded[index(s)];
  // A gain beyond what is born would count before it is there: while operands are still read.
  return used() + reads + born - std::min(gain(v), born) - model_.capacity;
}

bool Residency::may_leave(std::int32_t s, std::int32_t v) const {
  // Storages without starters stay while the first operator runs, and nothing else is there.
  if (done_ == 0 || mark_[index(s)] == Mark::kAbsent || is_pinned(s)) return false;
  if (done_ + 1 == model_.operators && model_.kept[index(s)]) return false;
  return !model_.uses[v].contains(s);
}

void Residency::set_mark(std::int32_t s, Mark mark) {
  Mark& current = mark_[index(s)];
  changes_.push_back({s, current});
  if (current == Mark::kAbsent) absent_bytes_ -= model_.rounded[index(s)];
  if (mark == Mark::kAbsent) absent_bytes_ += model_.rounded[index(s)];
  current = mark;
}

void Residency::run(std::int32_t v) {
  const auto read = [this](std::int32_t s) {
    if (mark_[index(s)] == Mark::kAbsent)
      set_mark(s, model_.has_copy[index(s)] ? Mark::kNone : Mark::kCopied);
  };
  for (const std::int32_t s : model_.uses[v]) {
    read(s);
    if (remaining_[index(s)] == 1 && mark_[index(s)] != Mark::kNone) set_mark(s, Mark::kNone);
  }
  if (done_ + 1 == model_.operators)
    for (const std::int32_t s : kept_) read(s);
  trail_.push_back(v);
  join(v);
}

void Residency::undo_to(Position position) {
  while (trail_.size() > position.operators) {
    leave(trail_.back());
    trail_.pop_back();
  }
  while (changes_.size() > position.marks) {
    const Change change = changes_.back();
    set_mark(change.storage, change.before);
    changes_.resize(changes_.size() - 2);
  }
}

void Residency::move_to(const Bits& bits) {
  for (const std::int32_t s : alive_) mark_[index(s)] = Mark::kNone;
  absent_bytes_ = 0;
  trail_.clear();
  changes_.clear();
  // Leaving goes from the last operator to the first and joining the other way, as indices are
  // topological: every step is between downsets.
  for (std::size_t word = bits_.size(); word-- > 0;) {
    std::uint64_t surplus = bits_[word] & ~bits[word];
    while (surplus != 0) {
      const int bit = order::highest_bit(surplus);
      surplus ^= std::uint64_t{1} << bit;
      leave(static_cast<std::int32_t>(word * 64) + bit);
    }
  }
  for (std::size_t word = 0; word < bits_.size(); ++word) {
    std::uint64_t lacking = bits[word] & ~bits_[word];
    while (lacking != 0) {
      const int bit = order::lowest_bit(lacking);
      lacking &= lacking - 1;
      join(static_cast<std::int32_t>(word * 64) + bit);
    }
  }
}

}  // namespace planner::joint
