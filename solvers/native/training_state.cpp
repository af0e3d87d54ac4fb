#include "training_state.hpp"

#include <algorithm>

namespace planner::training {

TrainingState::TrainingState(const TrainingModel& model)
    : model_(model),
      executions_(index(model.operators)),
      needed_(index(model.operators), 0),
      crosses_(index(model.storages), 0),
      forward_end_(index(model.storages), -1),
      stays_(index(model.storages)),
      bursts_(index(model.slots)),
      slot_peaks_(index(model.slots), 0),
      forward_(model.operators),
      backward_(model.slots),
      marked_(index(model.operators) / 64 + 1, 0),
      storage_touched_(index(model.storages), 0),
      slot_touched_(index(model.slots), 0) {
  choice_.saved.assign(index(model.storages), 0);
  choice_.repeated.assign(index(model.operators), 0);
  clear();
}

void TrainingState::clear() {
  for (auto& slots : executions_) slots.clear();
  for (auto& stays : stays_) stays.clear();
  for (auto& burst : bursts_) burst.clear();
  std::fill(needed_.begin(), needed_.end(), 0);
  std::fill(crosses_.begin(), crosses_.end(), 0);
  std::fill(forward_end_.begin(), forward_end_.end(), -1);
  std::fill(slot_peaks_.begin(), slot_peaks_.end(), 0);
  forward_.clear();
  backward_.clear();
  middle_ = model_.middle_static;
  recompute_ = 0;
}

void TrainingState::assign(const Choice& choice) {
  clear();
  choice_ = choice;
  for (std::int32_t s = 0; s < model_.storages; ++s) {
    if (model_.producer[index(s)] >= 0) touch_storage(s);
  }
  for (std::int32_t f = 0; f < model_.operators; ++f) mark_operator(f);
  for (std::int32_t j = 0; j < model_.slots; ++j) touch_slot(j);
  update();
}

void TrainingState::flip_saved(std::int32_t storage) {
  choice_.saved[index(storage)] ^= 1;
  mark_operator(model_.producer[index(storage)]);
  touch_storage(storage);
}

void TrainingState::flip_repeated(std::int32_t f) {
  choice_.repeated[index(f)] ^= 1;
  mark_operator(f);
}

void TrainingState::update() {
  settle_operators();
  for (const std::int32_t s : touched_storages_) {
    settle_storage(s);
    storage_touched_[index(s)] = 0;
  }
  touched_storages_.clear();
  for (const std::int32_t j : touched_slots_) {
    const std::int64_t peak = slot_peak(j);
    backward_.add(j, j + 1, peak - slot_peaks_[index(j)]);
    slot_peaks_[index(j)] = peak;
    slot_touched_[index(j)] = 0;
  }
  touched_slots_.clear();
}

std::int64_t TrainingState::peak() const {
  return std::max({forward_.maximum(), middle_, backward_.maximum()});
}

double TrainingState::excess(std::int64_t limit) const {
  return forward_.excess(limit) +
         static_cast<double>(std::max<std::int64_t>(0, middle_ - limit)) +
         backward_.excess(limit);
}

void TrainingState::mark_operator(std::int32_t f) {
  marked_[index(f) / 64] |= std::uint64_t{1} << (index(f) % 64);
  highest_marked_ = std::max(highest_marked_, f);
}

void TrainingState::touch_storage(std::int32_t storage) {
  if (storage_touched_[index(storage)]) return;
  storage_touched_[index(storage)] = 1;
  touched_storages_.push_back(storage);
}

void TrainingState::touch_slot(std::int32_t slot) {
  if (slot_touched_[index(slot)]) return;
  slot_touched_[index(slot)] = 1;
  touched_slots_.push_back(slot);
}

void TrainingState::settle_operators() {
  // Settling an operator marks only operators before it.
  for (std::int32_t word = highest_marked_ < 0 ? -1 : highest_marked_ / 64; word >= 0; --word) {
    while (marked_[index(word)] != 0) {
      std::uint64_t bits = marked_[index(word)];
      std::int32_t bit = 0;
      for (std::int32_t half = 32; half > 0; half /= 2) {
        if (bits >> half) {
          bits >>= half;
          bit += half;
        }
      }
      marked_[index(word)] &= ~(std::uint64_t{1} << bit);
      settle_operator(64 * word + bit);
    }
  }
  highest_marked_ = -1;
}

void TrainingState::settle_operator(std::int32_t f) {
  std::vector<std::int32_t>& executions = executions_[index(f)];
  find_executions(f);
  const bool needed = find_needed(f);
  const bool runs_anew = new_executions_ != executions;
  if (!runs_anew && needed == (needed_[index(f)] != 0)) return;

  const auto repetitions = [&](std::size_t again, bool in_forward) {
    const std::size_t all = again + (in_forward ? 1 : 0);
    return all > 1 ? static_cast<std::int64_t>(all - 1) : 0;
  };
  recompute_ += model_.duration[index(f)] *
                (repetitions(new_executions_.size(), needed) -
                 repetitions(executions.size(), needed_[index(f)] != 0));
  if (needed != (needed_[index(f)] != 0)) {
    forward_.add(f, f + 1, needed ? model_.workspace[index(f)] : -model_.workspace[index(f)]);
  }
  needed_[index(f)] = needed ? 1 : 0;
  if (runs_anew) {
    for (const std::int32_t j : executions) {
      if (std::binary_search(new_executions_.begin(), new_executions_.end(), j)) continue;
      std::vector<std::int32_t>& burst = bursts_[index(j)];
      burst.erase(std::lower_bound(burst.begin(), burst.end(), f));
      touch_slot(j);
    }
    for (const std::int32_t j : new_executions_) {
      if (std::binary_search(executions.begin(), executions.end(), j)) continue;
      std::vector<std::int32_t>& burst = bursts_[index(j)];
      burst.insert(std::lower_bound(burst.begin(), burst.end(), f), f);
      touch_slot(j);
    }
    executions.swap(new_executions_);
  }
  for (const std::int32_t s : model_.writes[f]) touch_storage(s);
  for (const std::int32_t s : model_.reads[f]) {
    touch_storage(s);
    mark_operator(model_.producer[index(s)]);
  }
}

// Slots in which f is executed again, into new_executions_.
void TrainingState::find_executions(std::int32_t f) {
  new_executions_.clear();
  if (!model_.recomputable[index(f)]) return;
  const bool repeated = choice_.repeated[index(f)] != 0;
  std::int32_t first = kNever;
  for (const std::int32_t s : model_.writes[f]) {
    if (choice_.saved[index(s)] || model_.is_output[index(s)]) continue;
    const Span slots = model_.reading_slots[s];
    if (repeated) {
      new_executions_.insert(new_executions_.end(), slots.begin(), slots.end());
    } else if (!slots.empty()) {
      first = std::min(first, *slots.begin());
    }
    for (const std::int32_t r : model_.readers[s]) {
      const std::vector<std::int32_t>& demands = executions_[index(r)];
      if (repeated) {
        new_executions_.insert(new_executions_.end(), demands.begin(), demands.end());
      } else if (!demands.empty()) {
        first = std::min(first, demands.front());
      }
    }
  }
  if (repeated) {
    std::sort(new_executions_.begin(), new_executions_.end());
    new_executions_.erase(std::unique(new_executions_.begin(), new_executions_.end()),
                          new_executions_.end());
  } else if (first != kNever) {
    new_executions_.push_back(first);
  }
}

bool TrainingState::find_needed(std::int32_t f) const {
  if (model_.in_forward[index(f)]) return true;
  for (const std::int32_t s : model_.writes[f]) {
    if (choice_.saved[index(s)]) return true;
    for (const std::int32_t r : model_.readers[s]) {
      if (needed_[index(r)]) return true;
    }
  }
  return false;
}

void TrainingState::settle_storage(std::int32_t storage) {
  find_stays(storage);
  settle_forward(storage);
  std::vector<Stay>& stays = stays_[index(storage)];
  if (new_stays_ == stays) return;
  for (const Stay& stay : stays) count_stay(storage, stay, -1);
  for (const Stay& stay : new_stays_) count_stay(storage, stay, 1);
  stays.swap(new_stays_);
}

void TrainingState::settle_forward(std::int32_t storage) {
  const std::int64_t size = model_.size[index(storage)];
  const std::int32_t f = model_.producer[index(storage)];
  const bool crosses = !new_stays_.empty() && new_stays_.front().first_slot < 0;
  if (crosses != (crosses_[index(storage)] != 0)) {
    middle_ += crosses ? size : -size;
    crosses_[index(storage)] = crosses ? 1 : 0;
  }
  std::int32_t end = -1;
  if (needed_[index(f)]) {
    end = f + 1;
    if (crosses || model_.is_output[index(storage)]) {
      end = model_.operators;
    } else {
      for (const std::int32_t r : model_.readers[storage]) {
        if (needed_[index(r)]) end = std::max(end, r + 1);
      }
    }
  }
  std::int32_t& known = forward_end_[index(storage)];
  if (end == known) return;
  if (known < 0) {
    forward_.add(f, end, size);
  } else if (end < 0) {
    forward_.add(f, known, -size);
  } else if (end > known) {
    forward_.add(known, end, size);
  } else {
    forward_.add(end, known, -size);
  }
  known = end;
}

// Stays of a storage in the backward half, into new_stays_.
void TrainingState::find_stays(std::int32_t storage) {
  new_stays_.clear();
  const std::int32_t f = model_.producer[index(storage)];
  const std::vector<std::int32_t>& executions = executions_[index(f)];
  const bool output = model_.is_output[index(storage)] != 0;
  bool crosses = !output && choice_.saved[index(storage)] != 0;
  if (!output && !crosses && !model_.recomputable[index(f)]) {
    crosses = !model_.reading_slots[storage].empty();
    for (const std::int32_t r : model_.readers[storage]) {
      crosses = crosses || !executions_[index(r)].empty();
    }
  }
  if (crosses) new_stays_.push_back({-1, -1, -1});
  for (const std::int32_t j : executions) new_stays_.push_back({j, j, f});
  if (new_stays_.empty()) return;

  const auto read = [&](std::int32_t slot, std::int32_t reader) {
    std::size_t i = new_stays_.size();
    while (i > 0 && new_stays_[i - 1].first_slot > slot) --i;
    if (i == 0) return;  // the forward output
    Stay& stay = new_stays_[i - 1];
    if (slot > stay.last_slot || (slot == stay.last_slot && reader > stay.last_operator)) {
      stay.last_slot = slot;
      stay.last_operator = reader;
    }
  };
  for (const std::int32_t j : model_.reading_slots[storage]) read(j, model_.operators);
  for (const std::int32_t r : model_.readers[storage]) {
    for (const std::int32_t j : executions_[index(r)]) read(j, r);
  }
}

void TrainingState::count_stay(std::int32_t storage, const Stay& stay, std::int64_t sign) {
  if (stay.first_slot >= 0) touch_slot(stay.first_slot);
  if (stay.last_slot >= 0) touch_slot(stay.last_slot);
  backward_.add(stay.first_slot + 1, stay.last_slot, sign * model_.size[index(storage)]);
}

const Stay* TrainingState::stay_at(std::int32_t storage, std::int32_t slot) const {
  const std::vector<Stay>& stays = stays_[index(storage)];
  std::size_t i = stays.size();
  while (i > 0 && stays[i - 1].first_slot > slot) --i;
  return i == 0 ? nullptr : &stays[i - 1];
}

// The most that is live while a slot's operators run, but for what passes the whole slot.
std::int64_t TrainingState::slot_peak(std::int32_t slot) const {
  std::int64_t at_entry = 0;  // ends here and began before
  std::int64_t since = 0;     // live now, less what is at entry
  std::int64_t peak = INT64_MIN;
  const auto release = [&](std::int32_t s, std::int32_t reader) {
    const Stay* stay = stay_at(s, slot);
    if (stay == nullptr || stay->last_slot != slot || stay->last_operator != reader) return;
    const std::int64_t size = model_.size[index(s)];
    if (stay->first_slot < slot) at_entry += size;
    since -= size;
  };
  for (const std::int32_t f : bursts_[index(slot)]) {
    for (const std::int32_t s : model_.writes[f]) since += model_.size[index(s)];
    peak = std::max(peak, since + model_.workspace[index(f)] + model_.slot_static[index(slot)]);
    for (const std::int32_t s : model_.writes[f]) release(s, f);
    for (const std::int32_t s : model_.reads[f]) release(s, f);
  }
  peak = std::max(peak, since + model_.end_static[index(slot)]);
  for (const std::int32_t s : model_.slot_reads[slot]) release(s, model_.operators);
  return at_entry + peak;
}

}  // namespace planner::training
