// Mapping as a game in program order: what the two rules of play share, and the normative rule.
#pragma once

#include <cstdint>
#include <vector>

#include "mapping_game_program.hpp"
#include "mapping_model.hpp"
#include "mapping_shelf.hpp"

namespace planner::mapping {

// One residency: accesses [first, last] of its buffer, rows [start, end).
struct GameStay {
  std::int32_t buffer;
  std::int32_t first;
  std::int32_t last;
  std::int32_t start;
  std::int32_t end;
  std::int64_t offset;
};

constexpr std::int32_t kNotValid = 1 << 30;

// Rows, bytes and buffers as they are after the decisions so far. A value: copies are positions.
class Board {
 public:
  // `forgets`: no residency is taken up again once its rows are over, so that they may be forgotten.
  Board(const GameProgram& program, std::int32_t window, bool forgets);

  const GameProgram& program() const { return *program_; }
  const MappingModel& model() const { return *program_->model; }
  Ticks latency() const { return latency_; }
  std::int32_t window() const { return window_; }
  const std::vector<GameStay>& stays() const { return stays_; }
  const Shelf& shelf() const { return shelf_; }

  // Ticks of the slow memory's time that a row has left for further copies.
  Ticks room(std::int32_t row) const { return rows_[row].room - rows_[row].used; }
  Ticks row_time(std::int32_t row) const { return rows_[row].time; }
  // Bytes of the fast memory that are taken in a row.
  std::int64_t taken(std::int32_t row) const { return rows_[row].taken; }
  // Ticks by which the row gets shorter if the access is served fast, all else equal.
  Ticks gain(std::int32_t access) const;

 protected:
  struct RowState {
    Ticks moving;     // memory time of accesses, latencies apart
    Ticks slow_busy;  // the slow memory's part of it
    Ticks time;
    Ticks room;  // before copies
    Ticks used;  // by copies
    std::int64_t taken;
    std::int32_t fast_touches;
    std::int32_t slow_touches;
  };
  struct BufferState {
    std::int32_t stay = -1;         // residency that holds it
    std::int32_t valid = 0;         // boundary from which the slow copy is valid
    std::int32_t left = 0;          // boundary at which the last residency ended
    std::int32_t dirty_since = -1;  // boundary after the last write that is not written back
  };

  void refresh(std::int32_t row);
  void serve(std::int32_t access);

  // Where a copy into the fast memory before `row` starts at the latest, not before `earliest`;
  // -1 if the room does not do.
  std::int32_t copy_in_start(std::int32_t row, std::int32_t earliest, Ticks ticks);
  // The boundary at which a copy that may begin at `from` ends, at most `limit`; -1 if it cannot.
  std::int32_t copy_out_end(std::int32_t from, std::int32_t limit, Ticks ticks) const;
  void draw_back(std::int32_t row, Ticks ticks);
  void draw_forth(std::int32_t from, Ticks ticks);

  // Takes the bytes in rows [start, row] for a residency that begins with this access.
  void open(std::int32_t access, std::int32_t start, std::int64_t offset);
  // Holds the bytes of the buffer's residency until boundary `end`.
  void hold_until(std::int32_t buffer, std::int32_t end);

  GameStay& stay_of(std::int32_t buffer) { return stays_[buffers_[buffer].stay]; }

  std::vector<BufferState> buffers_;

 private:
  const GameProgram* program_;
  std::int32_t window_;
  bool forgets_;
  Ticks latency_ = 0;
  std::vector<RowState> rows_;
  std::vector<std::int32_t> open_row_;  // see copy_in_start
  std::vector<GameStay> stays_;
  Shelf shelf_;
  std::size_t shelf_limit_ = 64;
};

// What there is to decide, for `observe`.
struct Decision {
  std::int32_t access;
  bool keep;
  bool write_back;          // the release in question, or the write, is followed by one
  std::int32_t copy_rows;   // that the copy in question may take; 0 if there is none
  std::int64_t offset;      // of the residency in question
  std::uint32_t legal;      // one bit per action
};

enum class Phase : std::int32_t { kServe, kKeep };

// The normative rule. Each access has up to two decisions, forced ones are not offered:
//
// serve: action 1 serves an access fast whose buffer is not in the fast memory, after a copy into
//   it or, where the buffer begins with this write, without one; action 0 serves it slow.
// keep: action 1 keeps the buffer where it is until its next access, which is then served fast;
//   action 0 releases it, after a write-back if it was written.
//
// No dead ends. Everything that holds bytes after the row in turn holds them in that row too:
// residencies begin at or before the access they are opened for, and hold bytes up to the next
// access or the end of a write-back without a break. So what shares no byte in this row shares
// none later, and keeping is always possible. Not keeping is refused only where the write-back
// lacks room. Serving slow is always possible: a buffer that is not in the fast memory is valid in
// the slow one from the row of its next access on. Copies share the slow memory's time with the
// accesses that it serves; it is planned as if all accesses still to be decided were slow, and
// rooms only grow when they turn out fast, so what was planned stays possible.
class ProgramOrderGame : public Board {
 public:
  ProgramOrderGame(const GameProgram& program, std::int32_t window);

  bool done() const { return access_ >= static_cast<std::int32_t>(model().accesses.size()); }
  std::uint32_t legal() const { return done() ? 0U : 3U; }
  // Returns the ticks that the program gets shorter by.
  Ticks play(std::int32_t action);

  // The game must not be done.
  Decision decision() const;

 private:
  void advance();
  bool can_serve();

  std::int32_t access_ = 0;
  Phase phase_ = Phase::kServe;
  std::int32_t start_ = 0;            // of the residency that may be opened
  std::int64_t offset_ = 0;           // of it
  std::int32_t write_back_end_ = -1;  // of a release in question
};

}  // namespace planner::mapping
