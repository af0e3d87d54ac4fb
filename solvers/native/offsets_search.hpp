// Depth-first search for a placement within a capacity, or for the proof that there is none.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "control.hpp"
#include "offsets_instance.hpp"

namespace planner::offsets {

// What decides between buffers of equal lowest offset: three keys, each descending. "Total" is the
// largest number of bytes still unplaced in a section of the buffer.
enum class Priority {
  kTotalSpanArea,
  kTotalAreaSpan,
  kTotalSizeSpan,
  kSpanAreaTotal,
  kAreaSpanTotal,
  kSizeSpanTotal,
};

// Where a node decides a buffer.
enum class Choice {
  kLowest,
  kFullestSection,   // of the lowest, one whose fullest section is fuller
  kCriticalSection,  // around the section with the fewest ways to begin and the most failures
};

struct Configuration {
  Priority priority;
  Choice choice;
};

enum class Answer {
  kPlaced,
  kImpossible,  // the search was exhausted: a proof if it is complete
  kStopped,     // by the node limit, the control or the memory limit
};

class PlacementSearch {
 public:
  virtual ~PlacementSearch() = default;

  // Offsets are in offsets() when the answer is kPlaced. The same runs in the same sequence give
  // the same answers, unless the control interferes: a run learns from the failures of earlier ones.
  virtual Answer run(std::int64_t capacity, Configuration configuration, std::int64_t node_limit,
                     Control& control) = 0;

  virtual const std::vector<std::int64_t>& offsets() const = 0;
  virtual std::int64_t nodes() const = 0;  // of the last run

  // Whether it searches all canonical packings, not only those with one of two conflicting buffers
  // entirely above the other.
  virtual bool complete() const = 0;

 protected:
  PlacementSearch() = default;
  PlacementSearch(const PlacementSearch&) = default;
  PlacementSearch& operator=(const PlacementSearch&) = default;
};

// Refers to the instance. Null if the instance is too large for the memory that the search needs.
std::unique_ptr<PlacementSearch> make_placement_search(const Instance& instance);

// The unit of offsets: canonical placements, see PlaceOrRaise, use only multiples of it.
std::int64_t offset_unit(const Instance& instance);

}  // namespace planner::offsets
