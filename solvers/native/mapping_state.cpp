#include "mapping_state.hpp"

#include <algorithm>
#include <utility>

namespace planner::mapping {

namespace {

void erase_one(std::vector<std::int32_t>& ids, std::int32_t id) {
  ids.erase(std::find(ids.begin(), ids.end(), id));
}

}  // namespace

MappingState::MappingState(const MappingModel& model, bool addresses)
    : model_(&model),
      addresses_(addresses),
      stay_of_(model.accesses.size(), -1),
      copying_(model.rows.size()),
      space_(model.capacity) {
  rows_.reserve(model.rows.size());
  for (const RowCost& cost : model.rows) {
    rows_.push_back({cost.other, cost.other_slow, cost.touches_fast ? 1 : 0,
                     cost.touches_slow ? 1 : 0, 0, 0, 0, model.capacity});
  }
  for (const Access& access : model.accesses) {
    RowState& row = rows_[access.row];
    row.moving += access.slow;
    row.slow_busy += access.slow;
    row.slow_touches += access.moves ? 1 : 0;
  }
  for (std::size_t t = 0; t < rows_.size(); ++t) refresh(static_cast<std::int32_t>(t));
}

void MappingState::refresh(std::int32_t row) {
  RowState& state = rows_[row];
  const RowCost& cost = model_->rows[row];
  const Ticks slow_latency = state.slow_touches > 0 ? model_->slow_latency : 0;
  const Ticks fast_latency = state.fast_touches > 0 ? model_->fast_latency : 0;
  latency_ -= state.time;
  state.time = cost.overhead + std::max(cost.arithmetic, state.moving + fast_latency + slow_latency);
  state.room = state.time - state.slow_busy - slow_latency;
  latency_ += state.time;
}

Ticks MappingState::gain(std::int32_t index) const {
  const Access& access = model_->accesses[index];
  if (!access.moves) return 0;
  const RowState& state = rows_[access.row];
  const RowCost& cost = model_->rows[access.row];
  const Ticks moving = state.moving - access.slow + access.fast + model_->fast_latency +
                       (state.slow_touches > 1 ? model_->slow_latency : 0);
  return state.time - cost.overhead - std::max(cost.arithmetic, moving);
}

void MappingState::serve(std::int32_t index, std::int32_t id) {
  const Access& access = model_->accesses[index];
  RowState& row = rows_[access.row];
  stay_of_[index] = id;
  row.moving += access.fast - access.slow;
  row.slow_busy -= access.slow;
  row.fast_touches += access.moves ? 1 : 0;
  row.slow_touches -= access.moves ? 1 : 0;
  refresh(access.row);
}

void MappingState::unserve(std::int32_t index) {
  const Access& access = model_->accesses[index];
  RowState& row = rows_[access.row];
  stay_of_[index] = -1;
  row.moving += access.slow - access.fast;
  row.slow_busy += access.slow;
  row.fast_touches -= access.moves ? 1 : 0;
  row.slow_touches += access.moves ? 1 : 0;
  refresh(access.row);
}

std::int32_t MappingState::next_stay(std::int32_t buffer, std::int32_t use) const {
  const Buffer& described = model_->buffers[buffer];
  for (std::int32_t later = use + 1; later < described.uses; ++later) {
    const std::int32_t id = stay_of_[model_->access_index(buffer, later)];
    if (id >= 0) return id;
  }
  return -1;
}

std::int32_t MappingState::previous_end(std::int32_t buffer, std::int32_t use) const {
  for (std::int32_t earlier = use - 1; earlier >= 0; --earlier) {
    const std::int32_t id = stay_of_[model_->access_index(buffer, earlier)];
    if (id >= 0) return stays_[id].end;
  }
  return 0;
}

// Latest start possible, from which on the room in each row is enough.
bool MappingState::copy_in(Stay& stay, const Reach& reach) {
  const Access& access = model_->access(stay.buffer, stay.first);
  const Buffer& buffer = model_->buffers[stay.buffer];
  std::int32_t earliest = std::max(0, access.row - reach.window);
  earliest = std::max(earliest, previous_end(stay.buffer, stay.first));
  if (access.previous_write >= 0) {
    const std::int32_t written = model_->access_index(stay.buffer, access.previous_write);
    if (stay_of_[written] < 0) earliest = std::max(earliest, model_->accesses[written].row + 1);
  }
  Ticks missing = buffer.copy_in;
  std::int32_t row = access.row;
  stay.copied_in.clear();
  while (missing > 0) {
    if (--row < earliest || rows_[row].free < buffer.size) return false;
    const Ticks taken = std::min(missing, std::max<Ticks>(0, room(row)));
    stay.copied_in.push_back(taken);
    missing -= taken;
  }
  std::reverse(stay.copied_in.begin(), stay.copied_in.end());
  stay.in_begin = row;
  stay.start = model_->latest_in[row];
  if (stay.start < earliest) return false;
  while (--row >= stay.start) {
    if (rows_[row].free < buffer.size) return false;
  }
  return true;
}

// Earliest end possible. Sets `end` and `copied_out`; nothing to do for a clean buffer.
bool MappingState::copy_out(Stay& stay, const Reach& reach) {
  const Buffer& buffer = model_->buffers[stay.buffer];
  const Access& last = model_->access(stay.buffer, stay.last);
  const std::int32_t write = last.writes ? stay.last : last.previous_write;
  stay.copied_out.clear();
  stay.end = last.row + 1;
  if (write < stay.first || stay.last == buffer.uses - 1) return true;
  std::int32_t limit = model_->access(stay.buffer, stay.last + 1).row;
  const std::int32_t next = next_stay(stay.buffer, stay.last);
  if (next >= 0) limit = std::min(limit, stays_[next].start);
  const std::int32_t written = model_->access(stay.buffer, write).row + 1;
  stay.out_begin = model_->ready_out[written];
  const std::int64_t until = std::int64_t{written} + reach.window;
  limit = static_cast<std::int32_t>(std::min<std::int64_t>(limit, until));
  for (std::int32_t row = stay.end; row < std::min(stay.out_begin, limit); ++row) {
    if (rows_[row].free < buffer.size) return false;
  }
  Ticks missing = buffer.copy_out;
  std::int32_t row = stay.out_begin;
  for (; missing > 0; ++row) {
    if (row >= limit || (row > last.row && rows_[row].free < buffer.size)) return false;
    const Ticks taken = std::min(missing, std::max<Ticks>(0, room(row)));
    stay.copied_out.push_back(taken);
    missing -= taken;
  }
  stay.end = std::max(stay.end, row);
  return true;
}

// Whether the copies of a residency keep the order of those already planned, per direction.
bool MappingState::in_order(const Stay& stay) const {
  const auto crosses = [](std::int32_t start, std::int32_t end, std::int32_t begin,
                          std::int32_t until) {
    return (start < begin && end > until) || (start > begin && end < until);
  };
  const std::int32_t arrival = model_->access(stay.buffer, stay.first).row;
  for (std::size_t id = 0; id < stays_.size(); ++id) {
    if (!placed_[id]) continue;
    const Stay& other = stays_[id];
    if (!stay.copied_in.empty() && !other.copied_in.empty() &&
        crosses(stay.start, arrival, other.start,
                model_->access(other.buffer, other.first).row)) {
      return false;
    }
    if (!stay.copied_out.empty() && !other.copied_out.empty() &&
        crosses(stay.out_begin, stay.end, other.out_begin, other.end)) {
      return false;
    }
  }
  return true;
}

std::int32_t MappingState::fresh() {
  if (!unused_.empty()) {
    const std::int32_t id = unused_.back();
    unused_.pop_back();
    return id;
  }
  stays_.emplace_back();
  placed_.push_back(0);
  return static_cast<std::int32_t>(stays_.size()) - 1;
}

std::int32_t MappingState::place(std::int32_t buffer_index, std::int32_t use, const Reach& reach) {
  ++attempts_;
  const Buffer& buffer = model_->buffers[buffer_index];
  const Access& access = model_->access(buffer_index, use);
  const bool produced = use == 0 && access.writes;
  const std::int32_t id = fresh();
  Stay& stay = stays_[id];
  stay.buffer = buffer_index;
  stay.first = use;
  stay.start = access.row;
  stay.copied_in.clear();
  stay.copied_out.clear();
  if (rows_[access.row].free < buffer.size || (!produced && !copy_in(stay, reach))) {
    unused_.push_back(id);
    return -1;
  }
  options_.clear();
  const std::int32_t next = next_stay(buffer_index, use);
  const std::int32_t beyond = next < 0 ? buffer.uses : stays_[next].first;
  const std::int32_t end_limit = next < 0 ? 1 << 30 : stays_[next].start;
  Ticks total = 0;
  std::int32_t row = access.row;
  for (std::int32_t last = use; last < beyond; ++last) {
    const std::int32_t index = model_->access_index(buffer_index, last);
    const std::int32_t until = model_->accesses[index].row;
    if (until >= end_limit) break;
    while (row <= until && rows_[row].free >= buffer.size) ++row;
    if (row <= until) break;
    total += gain(index);
    if (!reach.most_gain || total > 0) {
      options_.push_back({total, last, produced && last == buffer.uses - 1});
    }
  }
  std::stable_sort(options_.begin(), options_.end(), [&](const Option& a, const Option& b) {
    if (!reach.most_gain) return a.last > b.last;
    if (a.gain != b.gain) return a.gain > b.gain;
    return a.whole && !b.whole;
  });
  for (const Option& option : options_) {
    stay.last = option.last;
    if (!copy_out(stay, reach)) continue;
    if (reach.fifo && !in_order(stay)) continue;
    if (addresses_) {
      stay.offset = space_.best_fit(stay.start, stay.end, buffer.size);
      if (stay.offset < 0) continue;
    }
    hold(id);
    added_.push_back(id);
    return id;
  }
  unused_.push_back(id);
  return -1;
}

void MappingState::hold(std::int32_t id) {
  occupy(id);
  draw(id);
}

void MappingState::occupy(std::int32_t id) {
  const Stay& stay = stays_[id];
  const std::int64_t size = model_->buffers[stay.buffer].size;
  placed_[id] = 1;
  for (std::int32_t row = stay.start; row < stay.end; ++row) rows_[row].free -= size;
  if (addresses_) space_.add(id, stay.start, stay.end, stay.offset, size);
  for (std::int32_t use = stay.first; use <= stay.last; ++use) {
    serve(model_->access_index(stay.buffer, use), id);
  }
}

void MappingState::draw(std::int32_t id) {
  const Stay& stay = stays_[id];
  const auto take = [&](std::int32_t begin, const std::vector<Ticks>& amounts) {
    for (std::size_t k = 0; k < amounts.size(); ++k) {
      if (amounts[k] == 0) continue;
      rows_[begin + k].used += amounts[k];
      copying_[begin + k].push_back(id);
    }
  };
  take(stay.in_begin, stay.copied_in);
  take(stay.out_begin, stay.copied_out);
}

void MappingState::remove(std::int32_t id) {
  release(id);
  removed_.push_back(id);
}

void MappingState::release(std::int32_t id) {
  const Stay& stay = stays_[id];
  const std::int64_t size = model_->buffers[stay.buffer].size;
  placed_[id] = 0;
  for (std::int32_t row = stay.start; row < stay.end; ++row) rows_[row].free += size;
  if (addresses_) space_.remove(id, stay.offset);
  for (std::int32_t use = stay.first; use <= stay.last; ++use) {
    const std::int32_t index = model_->access_index(stay.buffer, use);
    unserve(index);
    const std::int32_t row = model_->accesses[index].row;
    if (room(row) < 0) short_rows_.push_back(row);
  }
  const auto give_back = [&](std::int32_t begin, const std::vector<Ticks>& amounts) {
    for (std::size_t k = 0; k < amounts.size(); ++k) {
      if (amounts[k] == 0) continue;
      rows_[begin + k].used -= amounts[k];
      erase_one(copying_[begin + k], id);
    }
  };
  give_back(stay.in_begin, stay.copied_in);
  give_back(stay.out_begin, stay.copied_out);
}

void MappingState::settle() {
  while (!short_rows_.empty()) {
    const std::int32_t row = short_rows_.back();
    if (room(row) >= 0) {
      short_rows_.pop_back();
    } else {
      remove(copying_[row].back());
    }
  }
}

void MappingState::keep() {
  unused_.insert(unused_.end(), removed_.begin(), removed_.end());
  added_.clear();
  removed_.clear();
}

void MappingState::undo() {
  while (!added_.empty()) {
    release(added_.back());
    unused_.push_back(added_.back());
    added_.pop_back();
  }
  while (!removed_.empty()) {
    hold(removed_.back());
    removed_.pop_back();
  }
  short_rows_.clear();
}

std::vector<std::int32_t> MappingState::placed() const {
  std::vector<std::int32_t> ids;
  for (std::size_t id = 0; id < stays_.size(); ++id) {
    if (placed_[id]) ids.push_back(static_cast<std::int32_t>(id));
  }
  return ids;
}

void MappingState::holding(std::int32_t start, std::int32_t end,
                           std::vector<std::int32_t>& ids) const {
  for (std::size_t id = 0; id < stays_.size(); ++id) {
    if (placed_[id] && stays_[id].start < end && stays_[id].end > start) {
      ids.push_back(static_cast<std::int32_t>(id));
    }
  }
}

}  // namespace planner::mapping
