// Where every storage is after some operators have run, and what the next operator asks for.
#pragma once

#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#include "joint_model.hpp"
#include "order_downset.hpp"

namespace planner::joint {

using order::Bits;

// What distinguishes a live storage from one that has been resident ever since it came to life.
enum class Mark : char {
  kNone,    // resident; if it has a copy then one from the start
  kCopied,  // resident, with a copy that had to be written
  kAbsent,
};

// The operators that have run (a downset) with the mark of every live storage. Moves one operator
// at a time and can be taken back: counters, ready and live lists follow, nothing is copied.
class Residency {
 public:
  explicit Residency(const JointModel& model);

  const Bits& bits() const { return bits_; }
  std::uint64_t hash() const { return hash_; }
  std::int32_t done() const { return done_; }
  const std::vector<std::int32_t>& ready() const { return ready_; }  // in no particular order
  bool is_ready(std::int32_t v) const { return ready_position_[index(v)] >= 0; }
  bool has_run(std::int32_t v) const { return bits_[index(v) >> 6] >> (v & 63) & 1; }
  const std::vector<std::int32_t>& live() const { return alive_; }   // in no particular order
  std::int64_t used() const { return live_bytes_ - absent_bytes_; }  // resident, rounded
  Mark mark(std::int32_t s) const { return mark_[index(s)]; }
  bool begun(std::int32_t s) const { return started_[index(s)] > 0; }
  bool is_dead(std::int32_t s) const { return remaining_[index(s)] == 0; }

  // Bytes that have to leave before the ready operator v can run; kNever if something that it uses
  // has to come to life by another operator first.
  std::int64_t shortage(std::int32_t v) const;
  static constexpr std::int64_t kNever = std::numeric_limits<std::int64_t>::max();
  // Whether s may leave to make room for v.
  bool may_leave(std::int32_t s, std::int32_t v) const;
  // Traffic of leaving now, the read that follows sooner or later included.
  std::int64_t cost_of_absence(std::int32_t s) const {
    return model_.read_cost(s) + (mark_[index(s)] == Mark::kNone ? model_.write_cost(s) : 0);
  }

  void evict(std::int32_t s) { set_mark(s, Mark::kAbsent); }
  void run(std::int32_t v);  // absent operands are read

  struct Position {
    std::size_t operators, marks;
  };
  Position position() const { return {trail_.size(), changes_.size()}; }
  void undo_to(Position position);
  // Operators run since, oldest first; until undone or moved.
  const std::vector<std::int32_t>& trail() const { return trail_; }

  // Makes `bits` the operators that have run and marks no storage; nothing can be undone any more.
  void move_to(const Bits& bits);
  // Right after move_to.
  void mark_as(std::int32_t s, Mark mark) {
    set_mark(s, mark);
    changes_.clear();
  }

  // Looks for a safe chain that begins with the ready operator x and contains only operators below
  // `last`: chain() then. Returns by how much the bytes rise above used() along it, kNever if there
  // is none. See joint_residency_chains.cpp.
  std::int64_t find_chain(std::int32_t x, std::int32_t last);
  const std::vector<std::int32_t>& chain() const { return chain_; }
  // What the last call of find_chain looked at: operators whose operands it examined, and operators
  // that could not follow because others had to run before. As long as none of these operands
  // change and none of those operators come closer, the answer stays the same.
  const std::vector<std::int32_t>& examined() const { return examined_; }
  const std::vector<std::int32_t>& waiting() const { return waiting_; }

 private:
  struct Change {
    std::int32_t storage;
    Mark before;
  };

  std::int64_t gain(std::int32_t v) const;
  void set_mark(std::int32_t s, Mark mark);
  void flip(std::int32_t v);
  void add_ready(std::int32_t v);
  void remove_ready(std::int32_t v);
  void add_alive(std::int32_t s);
  void remove_alive(std::int32_t s);
  void join(std::int32_t v);
  void leave(std::int32_t v);
  void count(std::int32_t v);
  void uncount(std::int32_t v);
  bool is_pinned(std::int32_t s) const;
  bool may_end_with(std::int32_t y) const;
  bool is_safe_after(std::int32_t y);
  void note_death(std::int32_t s, std::size_t step);

  static constexpr std::size_t kChainLimit = 48;

  const JointModel& model_;
  Rows overwrites_;           // of an operator: its in-place options among its operands
  Rows part_writes_;          // of an operator: storages of several writers that it writes
  std::vector<std::int32_t> kept_;
  Bits bits_;
  std::uint64_t hash_ = 0;
  std::int32_t done_ = 0;
  std::int64_t live_bytes_ = 0;    // rounded, absent ones included
  std::int64_t absent_bytes_ = 0;  // rounded
  std::vector<std::int32_t> ready_, ready_position_;
  std::vector<std::int32_t> alive_, alive_position_;
  std::vector<std::int32_t> missing_;    // predecessors outside
  std::vector<std::int32_t> remaining_;  // users outside; one more if kept
  std::vector<std::int32_t> started_;    // starters inside; one more if there are none
  std::vector<std::int32_t> written_;    // writers inside, of storages with several
  std::vector<Mark> mark_;
  std::vector<std::int32_t> trail_;
  std::vector<Change> changes_;

  // Of find_chain.
  struct Created {
    std::int32_t storage;
    std::size_t step;
  };
  std::vector<std::int32_t> chain_, examined_, waiting_;
  std::vector<Created> created_;
  std::vector<std::int32_t> read_;
  std::vector<std::int32_t> stand_in_;  // largest one before each step, or -1
};

}  // namespace planner::joint
