#include "mapping_paper_game.hpp"

#include <algorithm>

namespace planner::mapping {

PaperGame::PaperGame(const GameProgram& program, std::int32_t window)
    : Board(program, window, false),
      played_(program.model->accesses.size(), 0),
      dropped_(program.model->accesses.size(), 0) {
  advance();
}

Decision PaperGame::decision() const {
  const Access& access = model().accesses[access_];
  const std::int64_t offset = found_ ? stays()[buffers_[access.buffer].stay].offset : offset_;
  return {access_,
          false,
          write_back_end_ >= 0,
          start_ >= 0 ? access.row - start_ : 0,
          std::max<std::int64_t>(0, offset),
          legal_};
}

// What is legal at the access in turn.
void PaperGame::look() {
  const Access& access = model().accesses[access_];
  const Buffer& described = model().buffers[access.buffer];
  const BufferState& buffer = buffers_[access.buffer];
  const bool begins = access.use == 0 && access.writes;
  const bool valid = buffer.valid <= access.row;
  found_ = false;
  start_ = write_back_end_ = -1;
  offset_ = -1;
  if (begins) {
    offset_ = shelf().best_fit(access.row, described.size);
  } else if (buffer.stay >= 0) {
    const GameStay& stay = stays()[buffer.stay];
    found_ = shelf().is_free(stay.end, stay.offset, described.size, buffer.stay);
  }
  if (!begins && valid && !(access.writes && found_)) {
    const std::int64_t reached = std::int64_t{access.row} - window();
    const std::int32_t earliest = std::max(
        {static_cast<std::int32_t>(std::max<std::int64_t>(0, reached)), buffer.valid, buffer.left});
    start_ = copy_in_start(access.row, earliest, described.copy_in);
    if (start_ >= 0) offset_ = shelf().best_fit(start_, described.size);
    if (offset_ < 0) start_ = -1;
  }
  const bool last = access.use == described.uses - 1;
  if (access.writes && !last) {
    const std::int64_t reached = std::int64_t{access.row} + 1 + window();
    const std::int32_t next = model().access(access.buffer, access.use + 1).row;
    write_back_end_ = copy_out_end(
        access.row + 1, static_cast<std::int32_t>(std::min<std::int64_t>(next, reached)),
        described.copy_out);
  }
  const bool without = begins ? offset_ >= 0 : found_;
  const bool ready = access.writes ? without || start_ >= 0 : start_ >= 0;
  const bool copy = ready && (!access.writes || (last ? !without : write_back_end_ >= 0));
  const bool drop = valid || begins;
  legal_ = drop ? 1U << kDrop : 0U;
  if (dropped_[access_]) return;
  if (copy) legal_ |= 1U << kCopy;
  if (without) legal_ |= 1U << kNoCopy;
}

void PaperGame::act(std::int32_t action) {
  const Access& access = model().accesses[access_];
  const Buffer& described = model().buffers[access.buffer];
  BufferState& buffer = buffers_[access.buffer];
  played_[access_] = static_cast<std::int8_t>(action);
  if (action == kDrop) {
    buffer.stay = -1;
    if (access.writes) buffer.valid = access.row + 1;
    ++access_;
    return;
  }
  if (found_ && (action == kNoCopy || access.writes)) {
    hold_until(access.buffer, access.row + 1);
    stay_of(access.buffer).last = access.use;
    serve(access_);
  } else {
    if (start_ >= 0) draw_back(access.row, described.copy_in);
    open(access_, start_ >= 0 ? start_ : access.row, offset_);
  }
  if (access.writes) {
    buffer.valid = kNotValid;
    if (action == kCopy && write_back_end_ >= 0) {
      draw_forth(access.row + 1, described.copy_out);
      hold_until(access.buffer, write_back_end_);
      buffer.valid = write_back_end_;
    }
  }
  buffer.left = stay_of(access.buffer).end;
  ++access_;
}

void PaperGame::back_up() {
  const std::int32_t buffer = model().accesses[access_].buffer;
  std::int32_t first = 0;
  while (true) {
    const std::int32_t index = model().access_index(buffer, first);
    if (played_[index] != kDrop) {
      first = index;
      break;
    }
    ++first;
  }
  dropped_[first] = 1;
  ++backups_;
  static_cast<Board&>(*this) = Board(program(), window(), false);
  for (access_ = 0; access_ < first;) {
    look();
    act(played_[access_]);
  }
}

void PaperGame::advance() {
  while (!done()) {
    look();
    if (legal_ == 0) {
      back_up();
    } else if ((legal_ & (legal_ - 1)) == 0) {
      act(legal_ == 1 ? kCopy : legal_ == 2 ? kNoCopy : kDrop);
    } else {
      return;
    }
  }
  legal_ = 0;
}

Ticks PaperGame::play(std::int32_t action) {
  const Ticks before = latency();
  act(action);
  advance();
  return before - latency();
}

}  // namespace planner::mapping
