#include "mapping_game.hpp"

#include <algorithm>

namespace planner::mapping {

Board::Board(const GameProgram& program, std::int32_t window, bool forgets)
    : buffers_(program.model->buffers.size()),
      program_(&program),
      window_(window),
      forgets_(forgets),
      open_row_(program.model->rows.size() + 1),
      shelf_(program.model->capacity) {
  rows_.reserve(model().rows.size());
  for (const RowCost& cost : model().rows) {
    rows_.push_back({cost.other, cost.other_slow, 0, 0, 0, 0, cost.touches_fast ? 1 : 0,
                     cost.touches_slow ? 1 : 0});
  }
  for (const Access& access : model().accesses) {
    RowState& row = rows_[access.row];
    row.moving += access.slow;
    row.slow_busy += access.slow;
    row.slow_touches += access.moves ? 1 : 0;
  }
  for (std::size_t t = 0; t < rows_.size(); ++t) refresh(static_cast<std::int32_t>(t));
  for (std::size_t k = 0; k < open_row_.size(); ++k) open_row_[k] = static_cast<std::int32_t>(k);
  for (std::size_t b = 0; b < buffers_.size(); ++b) {
    if (!model().buffers[b].has_copy) buffers_[b].valid = kNotValid;
  }
}

void Board::refresh(std::int32_t row) {
  RowState& state = rows_[row];
  const RowCost& cost = model().rows[row];
  const Ticks slow_latency = state.slow_touches > 0 ? model().slow_latency : 0;
  const Ticks fast_latency = state.fast_touches > 0 ? model().fast_latency : 0;
  latency_ -= state.time;
  state.time = cost.overhead + std::max(cost.arithmetic, state.moving + fast_latency + slow_latency);
  state.room = state.time - state.slow_busy - slow_latency;
  latency_ += state.time;
}

Ticks Board::gain(std::int32_t index) const {
  const Access& access = model().accesses[index];
  if (!access.moves) return 0;
  const RowState& state = rows_[access.row];
  const RowCost& cost = model().rows[access.row];
  const Ticks moving = state.moving - access.slow + access.fast + model().fast_latency +
                       (state.slow_touches > 1 ? model().slow_latency : 0);
  return state.time - cost.overhead - std::max(cost.arithmetic, moving);
}

void Board::serve(std::int32_t index) {
  const Access& access = model().accesses[index];
  RowState& row = rows_[access.row];
  row.moving += access.fast - access.slow;
  row.slow_busy -= access.slow;
  row.fast_touches += access.moves ? 1 : 0;
  row.slow_touches -= access.moves ? 1 : 0;
  refresh(access.row);
}

// Rows before the one in turn are settled: their room only shrinks. So those without any are
// skipped for good: open_row_[k] - 1 is the last row before row k that may have room.
std::int32_t Board::copy_in_start(std::int32_t row, std::int32_t earliest, Ticks ticks) {
  std::int32_t at = row;
  while (true) {
    while (open_row_[at] != at) {
      open_row_[at] = open_row_[open_row_[at]];
      at = open_row_[at];
    }
    if (at <= earliest) return -1;
    const Ticks left = room(at - 1);
    if (left <= 0) {
      open_row_[at] = at - 1;
      continue;
    }
    --at;
    ticks -= left;
    if (ticks > 0) continue;
    const std::int32_t start = model().latest_in[at];
    return start < earliest ? -1 : start;
  }
}

std::int32_t Board::copy_out_end(std::int32_t from, std::int32_t limit, Ticks ticks) const {
  for (std::int32_t row = model().ready_out[from]; row < limit; ++row) {
    ticks -= std::max<Ticks>(0, room(row));
    if (ticks <= 0) return row + 1;
  }
  return -1;
}

void Board::draw_back(std::int32_t row, Ticks ticks) {
  while (ticks > 0) {
    --row;
    const Ticks taken = std::min(ticks, std::max<Ticks>(0, room(row)));
    rows_[row].used += taken;
    ticks -= taken;
  }
}

void Board::draw_forth(std::int32_t from, Ticks ticks) {
  for (std::int32_t row = model().ready_out[from]; ticks > 0; ++row) {
    const Ticks taken = std::min(ticks, std::max<Ticks>(0, room(row)));
    rows_[row].used += taken;
    ticks -= taken;
  }
}

void Board::open(std::int32_t index, std::int32_t start, std::int64_t offset) {
  const Access& access = model().accesses[index];
  const std::int64_t size = model().buffers[access.buffer].size;
  BufferState& buffer = buffers_[access.buffer];
  buffer.stay = static_cast<std::int32_t>(stays_.size());
  buffer.dirty_since = -1;
  stays_.push_back({access.buffer, access.use, access.use, start, access.row + 1, offset});
  if (forgets_ && shelf_.size() >= shelf_limit_) {
    const auto reached = static_cast<std::int32_t>(
        std::max<std::int64_t>(0, std::int64_t{access.row} - window_));
    std::int32_t first_open = reached;
    while (first_open < access.row && room(first_open) <= 0) ++first_open;
    // A copy begins earlier than its first byte moves.
    shelf_.forget(std::max(reached, model().latest_in[first_open]));
    shelf_limit_ = std::max<std::size_t>(64, 2 * shelf_.size());
  }
  shelf_.add(buffer.stay, access.row + 1, offset, size);
  for (std::int32_t row = start; row <= access.row; ++row) rows_[row].taken += size;
  serve(index);
}

void Board::hold_until(std::int32_t buffer, std::int32_t end) {
  GameStay& stay = stays_[buffers_[buffer].stay];
  if (end <= stay.end) return;
  const std::int64_t size = model().buffers[buffer].size;
  for (std::int32_t row = stay.end; row < end; ++row) rows_[row].taken += size;
  stay.end = end;
  shelf_.hold_until(buffers_[buffer].stay, stay.offset, end);
}

ProgramOrderGame::ProgramOrderGame(const GameProgram& program, std::int32_t window)
    : Board(program, window, true) {
  advance();
}

Decision ProgramOrderGame::decision() const {
  const Access& access = model().accesses[access_];
  const BufferState& buffer = buffers_[access.buffer];
  if (phase_ == Phase::kServe) {
    return {access_, false, false, access.row - start_, offset_, legal()};
  }
  const bool write_back = write_back_end_ >= 0;
  return {access_, true, write_back, write_back ? write_back_end_ - buffer.dirty_since : 0,
          stays()[buffer.stay].offset, legal()};
}

bool ProgramOrderGame::can_serve() {
  const Access& access = model().accesses[access_];
  const Buffer& buffer = model().buffers[access.buffer];
  start_ = access.row;
  if (access.use > 0 || !access.writes) {
    const BufferState& state = buffers_[access.buffer];
    const std::int64_t reached = std::int64_t{access.row} - window();
    const std::int32_t earliest = std::max(
        {static_cast<std::int32_t>(std::max<std::int64_t>(0, reached)), state.valid, state.left});
    start_ = copy_in_start(access.row, earliest, buffer.copy_in);
    if (start_ < 0) return false;
  }
  offset_ = shelf().best_fit(start_, buffer.size);
  return offset_ >= 0;
}

Ticks ProgramOrderGame::play(std::int32_t action) {
  const Ticks before = latency();
  const Access& access = model().accesses[access_];
  const Buffer& described = model().buffers[access.buffer];
  BufferState& buffer = buffers_[access.buffer];
  if (phase_ == Phase::kServe) {
    if (action == 1) {
      if (start_ < access.row) draw_back(access.row, described.copy_in);
      open(access_, start_, offset_);
      phase_ = Phase::kKeep;
    } else {
      if (access.writes) buffer.valid = access.row + 1;
      ++access_;
    }
  } else if (action == 1) {
    const std::int32_t next = model().access_index(access.buffer, access.use + 1);
    hold_until(access.buffer, model().accesses[next].row + 1);
    ++stay_of(access.buffer).last;
    serve(next);
    ++access_;
    phase_ = Phase::kServe;
  } else {
    if (write_back_end_ >= 0) {
      draw_forth(buffer.dirty_since, described.copy_out);
      hold_until(access.buffer, write_back_end_);
      buffer.valid = write_back_end_;
    }
    buffer.left = stay_of(access.buffer).end;
    buffer.stay = -1;
    ++access_;
    phase_ = Phase::kServe;
  }
  advance();
  return before - latency();
}

// Goes on to the next decision that is not forced.
void ProgramOrderGame::advance() {
  for (; !done(); phase_ = Phase::kServe, ++access_) {
    const Access& access = model().accesses[access_];
    const Buffer& described = model().buffers[access.buffer];
    BufferState& buffer = buffers_[access.buffer];
    if (buffer.stay < 0) {
      if (can_serve()) return;
      if (access.writes) buffer.valid = access.row + 1;
      continue;
    }
    phase_ = Phase::kKeep;
    if (access.writes) buffer.dirty_since = access.row + 1;
    if (access.use == described.uses - 1) {
      buffer.stay = -1;
      continue;
    }
    write_back_end_ = -1;
    if (buffer.dirty_since < 0) return;
    const Access& next = model().access(access.buffer, access.use + 1);
    const std::int64_t reached = std::int64_t{buffer.dirty_since} + window();
    const auto limit =
        static_cast<std::int32_t>(std::min<std::int64_t>(next.row, reached));
    write_back_end_ = copy_out_end(buffer.dirty_since, limit, described.copy_out);
    if (write_back_end_ >= 0) return;
    hold_until(access.buffer, next.row + 1);
    ++stay_of(access.buffer).last;
    serve(model().access_index(access.buffer, access.use + 1));
  }
}

}  // namespace planner::mapping
