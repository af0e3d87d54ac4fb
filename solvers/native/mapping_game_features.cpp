#include "mapping_game_features.hpp"

#include <algorithm>
#include <array>
#include <cmath>

namespace planner::mapping {

namespace {

constexpr float kLargest = 8.0F;
constexpr std::int32_t kRowsSummed = 24;
// Boundaries of stretches of rows, counted from the row in turn.
constexpr std::array<std::int32_t, 7> kAhead = {1, 2, 3, 5, 9, 17, 33};
constexpr std::array<std::int32_t, 6> kBehind = {0, 1, 2, 4, 8, 16};

float log_of(double value) { return static_cast<float>(std::log1p(std::max(0.0, value))); }

// From [0, infinity) to [0, 1).
float share_of(double value) {
  return static_cast<float>(std::max(0.0, value) / (1.0 + std::max(0.0, value)));
}

class Writer {
 public:
  explicit Writer(float* values) : values_(values) {}
  void put(float value) { *values_++ = std::clamp(value, -kLargest, kLargest); }
  void put(double value) { put(static_cast<float>(value)); }
  void put(bool value) { put(value ? 1.0F : 0.0F); }

 private:
  float* values_;
};

struct View {
  const Board& board;
  const GameProgram& program;
  const MappingModel& model;
  double mean;
  double capacity;

  explicit View(const Board& shown)
      : board(shown),
        program(shown.program()),
        model(shown.model()),
        mean(shown.program().mean_time),
        capacity(static_cast<double>(std::max<std::int64_t>(1, shown.model().capacity))) {}

  double ratio(Ticks part, Ticks whole) const {
    return whole > 0 ? static_cast<double>(part) / static_cast<double>(whole) : 0.0;
  }

  // Mean room in mean rows, and mean share of the bytes taken, in rows [begin, end).
  void stretch(std::int32_t begin, std::int32_t end, Writer& writer) const {
    Ticks room = 0;
    double taken = 0.0;
    for (std::int32_t row = begin; row < end; ++row) {
      room += std::max<Ticks>(0, board.room(row));
      taken += static_cast<double>(board.taken(row));
    }
    const double rows = std::max(1, end - begin);
    writer.put(static_cast<double>(room) / mean / rows);
    writer.put(taken / capacity / rows);
  }
};

void describe_decision(const View& view, const Decision& decision, Writer& writer) {
  const Access& access = view.model.accesses[decision.access];
  const Buffer& buffer = view.model.buffers[access.buffer];
  const std::int32_t row = access.row;
  writer.put(decision.keep);
  writer.put(access.use == 0 && access.writes);
  writer.put(access.writes);
  writer.put(decision.write_back);
  for (std::uint32_t action = 0; action < 3; ++action) {
    writer.put((decision.legal >> action & 1U) != 0);
  }
  writer.put(buffer.has_copy);
  writer.put(static_cast<double>(row) / static_cast<double>(view.model.rows.size()));
  const double size = static_cast<double>(buffer.size) / view.capacity;
  writer.put(size);
  writer.put(std::log(size) / 4.0);
  writer.put(log_of(static_cast<double>(buffer.copy_in) / view.mean));
  writer.put(log_of(static_cast<double>(buffer.copy_out) / view.mean));
  writer.put(log_of(decision.copy_rows) / 4.0F);
  writer.put(static_cast<double>(decision.offset) / view.capacity);
  const Ticks time = view.board.row_time(row);
  const Ticks gain = decision.keep ? 0 : view.board.gain(decision.access);
  writer.put(log_of(static_cast<double>(gain) / view.mean));
  writer.put(view.ratio(gain, time));
  writer.put(share_of(view.ratio(gain, buffer.copy_in)));
  writer.put(view.ratio(time - view.program.fast_time[row], time));
  writer.put(static_cast<double>(view.board.taken(row)) / view.capacity);
  writer.put(static_cast<double>(view.model.row_begin[row + 1] - decision.access) / 8.0);
}

void describe_future(const View& view, const Decision& decision, Writer& writer) {
  const Access& access = view.model.accesses[decision.access];
  const Buffer& buffer = view.model.buffers[access.buffer];
  const std::int32_t left = buffer.uses - 1 - access.use;
  const std::int32_t row = access.row;
  const double size = static_cast<double>(buffer.size) / view.capacity;
  writer.put(left == 0);
  writer.put(log_of(left));
  writer.put(log_of(static_cast<double>(view.program.alone_onwards[decision.access]) / view.mean));
  writer.put(view.program.rank_by_size[decision.access]);
  writer.put(view.program.rank_by_span[decision.access]);
  if (left == 0) {
    for (int k = 0; k < 10; ++k) writer.put(0.0F);
    return;
  }
  const std::int32_t next = view.model.access_index(access.buffer, access.use + 1);
  const Access& following = view.model.accesses[next];
  const std::int32_t rows = following.row - row;
  const Ticks gain = view.board.gain(next);
  std::int64_t fullest = 0;
  Ticks room = 0;
  const std::int32_t end = std::min(following.row, row + kRowsSummed);
  for (std::int32_t later = row + 1; later < end; ++later) {
    fullest = std::max(fullest, view.board.taken(later));
    room += std::max<Ticks>(0, view.board.room(later));
  }
  writer.put(log_of(rows) / 4.0F);
  writer.put(following.writes);
  writer.put(log_of(static_cast<double>(gain) / view.mean));
  writer.put(view.ratio(gain, view.board.row_time(following.row)));
  writer.put(share_of(static_cast<double>(gain) / view.mean / (size * rows)));
  writer.put(view.program.rank_by_size[next]);
  const std::int32_t last = view.model.access_index(access.buffer, buffer.uses - 1);
  writer.put(log_of(view.model.accesses[last].row - row) / 4.0F);
  writer.put(static_cast<double>(fullest) / view.capacity);
  writer.put(share_of(view.ratio(room, buffer.copy_out)));
  const auto& accessed = view.program.accessed_before;
  writer.put(log_of(accessed[following.row] - accessed[row + 1]));
}

void describe_rows(const View& view, std::int32_t row, Writer& writer) {
  const auto rows = static_cast<std::int32_t>(view.model.rows.size());
  for (std::size_t k = 0; k + 1 < kAhead.size(); ++k) {
    const std::int32_t begin = std::min(rows, row + kAhead[k]);
    const std::int32_t end = std::min(rows, row + kAhead[k + 1]);
    const float count = static_cast<float>(std::max(1, end - begin));
    for (const auto* sums : {&view.program.excess_before, &view.program.accessed_before,
                             &view.program.first_bytes_before,
                             &view.program.first_copies_before}) {
      writer.put(log_of(((*sums)[end] - (*sums)[begin]) / count));
    }
    view.stretch(begin, end, writer);
  }
  for (std::size_t k = 0; k + 1 < kBehind.size(); ++k) {
    view.stretch(std::max(0, row - kBehind[k + 1]), std::max(0, row - kBehind[k]), writer);
  }
  Ticks room = 0;
  for (std::int32_t before = std::max(0, row - kRowsSummed); before < row; ++before) {
    room += std::max<Ticks>(0, view.board.room(before));
  }
  writer.put(log_of(static_cast<double>(room) / view.mean));
}

}  // namespace

void observe(const Board& board, const Decision& decision, float* values) {
  const View view(board);
  Writer writer(values);
  describe_decision(view, decision, writer);
  describe_future(view, decision, writer);
  describe_rows(view, view.model.accesses[decision.access].row, writer);
}

}  // namespace planner::mapping
