// Mapping as a game in any order: each move names the buffer whose next residency is placed.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "mapping_decoder.hpp"
#include "mapping_state.hpp"

namespace planner::mapping {

// Each buffer has at most one candidate, its next access that is neither served fast nor refused
// and from which on there is something to gain. Those with the largest gain over the square root
// of the size are offered, in that order. Trying one places a residency that begins with its
// access if there is one, and goes on to the buffer's next access either way.
class AnyOrderGame {
 public:
  static constexpr std::int32_t kOffered = 16;
  static constexpr std::int32_t kStop = kOffered;
  static constexpr int kShown = kFeatures + 2;  // of a candidate
  static constexpr int kObserved = kOffered * kShown + 3;

  AnyOrderGame(const MappingModel& model, const Reach& reach);

  bool done() const { return stopped_; }
  std::uint32_t legal() const;
  // Returns the ticks that the program gets shorter by.
  Ticks play(std::int32_t action);
  // All values are finite and lie in [-8, 8].
  void observe(float* values) const;

  const MappingState& state() const { return state_; }

 private:
  struct Candidate {
    double key;
    std::int32_t buffer;
  };

  void settle(std::int32_t buffer);
  void settle_neighbours(std::int32_t stay);
  void offer();

  MappingState state_;
  Reach reach_;
  bool stopped_ = false;
  Ticks all_slow_;
  Ticks all_fast_;
  std::vector<std::int32_t> use_;  // candidate of each buffer; its number of uses for none
  std::vector<double> key_;        // -infinity for none
  std::vector<Candidate> offered_;
};

}  // namespace planner::mapping
