// The just-in-time schedule of a choice of what is kept, and its memory, under small changes.
#pragma once

#include <cstdint>
#include <vector>

#include "training_maximum.hpp"
#include "training_model.hpp"

namespace planner::training {

// One stay of a forward storage on the device in the backward half.
struct Stay {
  std::int32_t first_slot;  // -1 if it comes from the forward half
  std::int32_t last_slot;   // -1 if it is not read in the backward half
  std::int32_t last_operator;  // forward operator, or `operators` for the end of the slot

  bool operator==(const Stay& other) const {
    return first_slot == other.first_slot && last_slot == other.last_slot &&
           last_operator == other.last_operator;
  }
  bool operator!=(const Stay& other) const { return !(*this == other); }
};

// In which slots an operator is executed again follows from its readers: where a result is neither
// saved nor live, in the first slot that demands it, or, if it is repeated, in all that do. So a
// change is followed from the last reader to the first producer, and the memory is corrected where
// stays begin, end or pass.
//
// Memory is kept in two parts: what passes whole slots as additions to ranges of slots, and the
// peak within each slot, counted again whenever a stay begins or ends there. Operators of the
// forward half that do not run keep their place in the profile: less is live there than at the
// operator before.
class TrainingState {
 public:
  explicit TrainingState(const TrainingModel& model);

  void assign(const Choice& choice);
  // Takes effect with the next update().
  void flip_saved(std::int32_t storage);
  void flip_repeated(std::int32_t f);
  void update();

  const Choice& choice() const { return choice_; }
  std::int64_t recompute() const { return recompute_; }
  std::int64_t peak() const;
  // Sum of what exceeds the limit over the steps of the forward half and the slots.
  double excess(std::int64_t limit) const;

 private:
  void clear();
  void mark_operator(std::int32_t f);
  void touch_storage(std::int32_t storage);
  void touch_slot(std::int32_t slot);
  void settle_operators();
  void settle_operator(std::int32_t f);
  void find_executions(std::int32_t f);
  bool find_needed(std::int32_t f) const;
  void settle_storage(std::int32_t storage);
  void settle_forward(std::int32_t storage);
  void find_stays(std::int32_t storage);
  void count_stay(std::int32_t storage, const Stay& stay, std::int64_t sign);
  std::int64_t slot_peak(std::int32_t slot) const;
  const Stay* stay_at(std::int32_t storage, std::int32_t slot) const;

  const TrainingModel& model_;
  Choice choice_;
  std::vector<std::vector<std::int32_t>> executions_;  // of an operator: slots, ascending
  std::vector<char> needed_;                           // of an operator: runs in the forward half
  std::vector<char> crosses_;                          // of a storage, forward outputs apart
  std::vector<std::int32_t> forward_end_;              // of a storage: end of its range, or -1
  std::vector<std::vector<Stay>> stays_;               // of a storage, ascending
  std::vector<std::vector<std::int32_t>> bursts_;      // of a slot: operators, ascending
  std::vector<std::int64_t> slot_peaks_;
  RangeMaximum forward_, backward_;
  std::int64_t middle_ = 0;
  std::int64_t recompute_ = 0;

  std::vector<std::uint64_t> marked_;  // operators, as bits
  std::int32_t highest_marked_ = -1;
  std::vector<char> storage_touched_, slot_touched_;
  std::vector<std::int32_t> touched_storages_, touched_slots_;
  std::vector<std::int32_t> new_executions_;
  std::vector<Stay> new_stays_;
};

}  // namespace planner::training
