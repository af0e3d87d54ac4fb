#include "offsets_bounds.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <numeric>
#include <memory>
#include <vector>

#include "offsets_search.hpp"

namespace planner::offsets {
namespace {

constexpr std::int32_t kNarrowest = 4;     // sections
constexpr std::int64_t kFirstLimit = 512;  // nodes
constexpr int kRuns = 10;                  // of one window, each twice as long

// Deciding first where the search fails is what ends proofs.
constexpr std::array<Configuration, 2> kConfigurations{
    {{Priority::kTotalSpanArea, Choice::kCriticalSection},
     {Priority::kSpanAreaTotal, Choice::kCriticalSection}}};

std::vector<std::int32_t> alive_within(const Instance& instance, std::int32_t first_section,
                                       std::int32_t end_section) {
  std::vector<std::int32_t> alive;
  for (std::size_t v = 0; v < instance.buffers(); ++v) {
    if (instance.first_section[v] < end_section && first_section < instance.end_section[v]) {
      alive.push_back(static_cast<std::int32_t>(v));
    }
  }
  return alive;
}

}  // namespace

WindowBounds::WindowBounds(const Instance& instance) : instance_(instance) {
  for (std::int32_t width = kNarrowest; width < instance.sections; width *= 2) {
    std::vector<Window> windows;
    for (std::int32_t first = 0; first < instance.sections; first += width / 2) {
      const std::int32_t end = std::min(first + width, instance.sections);
      const std::int64_t bytes =
          std::accumulate(instance.section_bytes.begin() + first,
                          instance.section_bytes.begin() + end, std::int64_t{0});
      windows.push_back({first, end, bytes, kFirstLimit, 0});
      if (end == instance.sections) break;
    }
    std::stable_sort(windows.begin(), windows.end(),
                     [](const Window& x, const Window& y) { return x.bytes > y.bytes; });
    queue_.insert(queue_.end(), windows.begin(), windows.end());
  }
}

bool WindowBounds::refute(std::int64_t capacity, Control& control) {
  if (queue_.empty()) return false;
  Window window = queue_.front();
  queue_.pop_front();
  const Instance part =
      subset(instance_, alive_within(instance_, window.first_section, window.end_section));
  const std::unique_ptr<PlacementSearch> search = make_placement_search(part);
  if (!search) return false;
  const Configuration configuration =
      kConfigurations[static_cast<std::size_t>(window.runs) % kConfigurations.size()];
  const Answer answer = search->run(capacity, configuration, window.node_limit, control);
  nodes_ += search->nodes();
  const bool refuted = answer == Answer::kImpossible && search->complete();
  if (refuted) {
    queue_.push_front(window);  // it may not fit within the next capacity either
  } else if (answer == Answer::kStopped && window.runs < kRuns) {
    ++window.runs;
    window.node_limit *= 2;
    queue_.push_back(window);
  }
  return refuted;
}

}  // namespace planner::offsets
