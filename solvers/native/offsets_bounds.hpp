// Lower bounds on the height above the largest section, from short stretches of time.
#pragma once

#include <cstdint>
#include <deque>

#include "control.hpp"
#include "offsets_instance.hpp"

namespace planner::offsets {

// The buffers alive within some consecutive sections do not fit below a height: then all buffers
// do not. Such a **window** is small, so that the search is often exhausted where that of the whole
// is not. Narrow windows come before wide ones, and of one width the fullest first; one whose
// search was stopped returns to the queue with a higher limit.
class WindowBounds {
 public:
  explicit WindowBounds(const Instance& instance);

  // Whether a window is left that might not fit.
  bool open() const { return !queue_.empty(); }

  // One run of the search in one window. True: proven that nothing fits within the capacity, which
  // never falls from one call to the next.
  bool refute(std::int64_t capacity, Control& control);

  std::int64_t nodes() const { return nodes_; }  // of all runs

 private:
  struct Window {
    std::int32_t first_section, end_section;
    std::int64_t bytes;  // of all its sections
    std::int64_t node_limit;
    int runs;
  };

  const Instance& instance_;
  std::deque<Window> queue_;
  std::int64_t nodes_ = 0;
};

}  // namespace planner::offsets
