// A state that takes over a solution from elsewhere.
#include <algorithm>
#include <cstddef>

#include "mapping_state.hpp"

namespace planner::mapping {

bool MappingState::has_bytes(const Stay& stay) const {
  const std::int64_t size = model_->buffers[stay.buffer].size;
  if (addresses_) {
    return stay.offset >= 0 && space_.is_free(stay.start, stay.end, stay.offset, size);
  }
  return std::all_of(rows_.begin() + stay.start, rows_.begin() + stay.end,
                     [size](const RowState& row) { return row.free >= size; });
}

void MappingState::adopt(const std::vector<std::int64_t>& residencies, bool fifo) {
  std::vector<std::int32_t> ids;
  for (std::size_t k = 0; k + 5 < residencies.size(); k += 6) {
    const std::int32_t id = fresh();
    Stay& stay = stays_[id];
    stay.buffer = static_cast<std::int32_t>(residencies[k]);
    stay.first = static_cast<std::int32_t>(residencies[k + 1]);
    stay.last = static_cast<std::int32_t>(residencies[k + 2]);
    stay.start = static_cast<std::int32_t>(residencies[k + 3]);
    stay.end = static_cast<std::int32_t>(residencies[k + 4]);
    stay.offset = addresses_ ? residencies[k + 5] : -1;
    stay.copied_in.clear();
    stay.copied_out.clear();
    ids.push_back(id);
  }
  const auto size = [&](std::int32_t id) { return model_->buffers[stays_[id].buffer].size; };
  if (addresses_) {
    std::stable_sort(ids.begin(), ids.end(), [&](std::int32_t a, std::int32_t b) {
      const bool is_open = stays_[a].offset < 0;
      if (is_open != (stays_[b].offset < 0)) return !is_open;
      return size(a) > size(b);
    });
  }
  std::vector<std::int32_t> placed;
  for (const std::int32_t id : ids) {
    Stay& stay = stays_[id];
    if (addresses_ && stay.offset < 0) {
      stay.offset = space_.best_fit(stay.start, stay.end, size(id));
    }
    if (!has_bytes(stay)) {
      unused_.push_back(id);
      continue;
    }
    occupy(id);
    placed.push_back(id);
  }
  share_room(placed);
  if (fifo) {
    for (const std::int32_t id : placed) {
      if (placed_[id] && !in_order(stays_[id])) remove(id);
    }
  }
  settle();
  keep();
}

// Draws on the rows' room for the copies of residencies that occupy their bytes already.
void MappingState::share_room(const std::vector<std::int32_t>& ids) {
  struct Copy {
    std::int32_t ready;
    std::int32_t deadline;
    std::int32_t id;
    bool inward;
    Ticks missing;
  };
  std::vector<Copy> copies;
  for (const std::int32_t id : ids) {
    Stay& stay = stays_[id];
    const Buffer& buffer = model_->buffers[stay.buffer];
    const Access& first = model_->access(stay.buffer, stay.first);
    const Access& last = model_->access(stay.buffer, stay.last);
    if (stay.first > 0 || !first.writes) {
      stay.in_begin = stay.start;
      while (stay.in_begin < first.row && model_->latest_in[stay.in_begin] < stay.start) {
        ++stay.in_begin;
      }
      copies.push_back({stay.in_begin, first.row, id, true, buffer.copy_in});
    }
    const std::int32_t write = last.writes ? stay.last : last.previous_write;
    if (write >= stay.first && stay.last + 1 < buffer.uses) {
      stay.out_begin = model_->ready_out[model_->access(stay.buffer, write).row + 1];
      copies.push_back({stay.out_begin, stay.end, id, false, buffer.copy_out});
    }
  }
  std::sort(copies.begin(), copies.end(), [](const Copy& a, const Copy& b) {
    return a.deadline != b.deadline ? a.deadline < b.deadline : a.id < b.id;
  });
  std::vector<Ticks> left;
  for (std::size_t row = 0; row < rows_.size(); ++row) {
    left.push_back(std::max<Ticks>(0, room(static_cast<std::int32_t>(row))));
  }
  // Served one after the other by deadline, each as early as it can be, copies are served as they
  // are row by row with the earliest deadline first.
  for (Copy& copy : copies) {
    Stay& stay = stays_[copy.id];
    auto& amounts = copy.inward ? stay.copied_in : stay.copied_out;
    for (std::int32_t row = copy.ready; row < copy.deadline && copy.missing > 0; ++row) {
      const Ticks taken = std::min(copy.missing, left[row]);
      left[row] -= taken;
      copy.missing -= taken;
      amounts.push_back(taken);
    }
  }
  for (const std::int32_t id : ids) draw(id);
  for (const Copy& copy : copies) {
    if (copy.missing > 0 && placed_[copy.id]) remove(copy.id);
  }
}

}  // namespace planner::mapping
