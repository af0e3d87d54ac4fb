// Residencies placed so far, and what they leave: room for copies, bytes, time of every row.
#pragma once

#include <cstdint>
#include <vector>

#include "mapping_model.hpp"
#include "mapping_space.hpp"

namespace planner::mapping {

// How residencies are looked for.
struct Reach {
  // Rows that a copy may take; more than the rows of the program for no limit.
  std::int32_t window = 1 << 30;
  // Copies of one direction end in the order in which they start.
  bool fifo = false;
  // Serve the most gain, else as many accesses as possible.
  bool most_gain = true;
};

// One residency: accesses [first, last] of its buffer, rows [start, end). `copied_in` are the
// ticks that its copy takes from rows in_begin, in_begin + 1, ...; `copied_out` from `out_begin` on.
struct Stay {
  std::int32_t buffer = -1;
  std::int32_t first = 0;
  std::int32_t last = 0;
  std::int32_t start = 0;
  std::int32_t end = 0;
  std::int32_t in_begin = 0;
  std::int32_t out_begin = 0;
  std::int64_t offset = -1;
  std::vector<Ticks> copied_in;
  std::vector<Ticks> copied_out;
};

class MappingState {
 public:
  // Without `addresses` residencies share bytes as they like, as long as there are enough of them.
  MappingState(const MappingModel& model, bool addresses);

  const MappingModel& model() const { return *model_; }
  Ticks latency() const { return latency_; }

  bool is_served(std::int32_t access) const { return stay_of_[access] >= 0; }
  std::int32_t stay_of(std::int32_t access) const { return stay_of_[access]; }

  // Ticks by which the row gets shorter if the access is served fast, all else equal.
  Ticks gain(std::int32_t access) const;

  // Ticks of the slow memory's time that a row has left for further copies.
  Ticks room(std::int32_t row) const {
    const RowState& state = rows_[row];
    return state.room - state.used;
  }
  Ticks row_time(std::int32_t row) const { return rows_[row].time; }
  std::int64_t free_bytes(std::int32_t row) const { return rows_[row].free; }

  // Looks for a residency that begins with that use of the buffer, which is served slow, and
  // places it. Returns its identity, or -1.
  std::int32_t place(std::int32_t buffer, std::int32_t use, const Reach& reach);

  // Takes over residencies that `check_residencies` accepts, into a state without any: buffer,
  // first, last, start, end and offset of each, which is chosen here if negative, for the largest
  // first. Rooms are drawn on by the earliest deadline first. A residency whose bytes are taken,
  // for which there is no offset, or whose copy then comes too late or, with `fifo`, out of turn is
  // left out.
  void adopt(const std::vector<std::int64_t>& residencies, bool fifo);

  // Takes a residency away. Copies of others may then lack room, see `settle`.
  void remove(std::int32_t id);

  // Removes residencies, the latest placed first, until no row lacks room for its copies.
  void settle();

  // What was placed and removed since the last of these calls stays so, or is undone.
  void keep();
  void undo();

  const Stay& stay(std::int32_t id) const { return stays_[id]; }
  std::vector<std::int32_t> placed() const;

  // Appends the identities of the residencies that hold bytes in rows [start, end).
  void holding(std::int32_t start, std::int32_t end, std::vector<std::int32_t>& ids) const;

  // Residencies with copies that run in the row.
  const std::vector<std::int32_t>& copying(std::int32_t row) const { return copying_[row]; }

  const std::vector<std::int32_t>& removed() const { return removed_; }

  // Number of calls of `place`: the measure of work.
  std::int64_t attempts() const { return attempts_; }

 private:
  struct RowState {
    Ticks moving;     // memory time of accesses, latencies apart
    Ticks slow_busy;  // the slow memory's part of it
    std::int32_t fast_touches;
    std::int32_t slow_touches;
    Ticks time;
    Ticks room;  // before copies
    Ticks used;  // by copies
    std::int64_t free;
  };
  struct Option {
    Ticks gain;
    std::int32_t last;
    bool whole;
  };

  void refresh(std::int32_t row);
  void serve(std::int32_t access, std::int32_t id);
  void unserve(std::int32_t access);
  void hold(std::int32_t id);
  void occupy(std::int32_t id);
  void draw(std::int32_t id);
  void share_room(const std::vector<std::int32_t>& ids);
  void release(std::int32_t id);
  bool copy_in(Stay& stay, const Reach& reach);
  bool copy_out(Stay& stay, const Reach& reach);
  bool in_order(const Stay& stay) const;
  bool has_bytes(const Stay& stay) const;
  std::int32_t next_stay(std::int32_t buffer, std::int32_t use) const;
  std::int32_t previous_end(std::int32_t buffer, std::int32_t use) const;
  std::int32_t fresh();

  const MappingModel* model_;
  bool addresses_;
  Ticks latency_ = 0;
  std::vector<RowState> rows_;
  std::vector<std::int32_t> stay_of_;  // by access
  std::vector<Stay> stays_;
  std::vector<char> placed_;
  std::vector<std::int32_t> unused_;
  std::vector<std::vector<std::int32_t>> copying_;  // residencies whose copies use the row
  Space space_;
  std::vector<Option> options_;
  std::vector<std::int32_t> short_rows_;
  std::vector<std::int32_t> added_;
  std::vector<std::int32_t> removed_;
  std::int64_t attempts_ = 0;
};

}  // namespace planner::mapping
