#include "offsets_window_repair.hpp"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstdio>
#include <memory>
#include <utility>
#include <vector>

#include "offsets_search.hpp"

namespace planner::offsets {
namespace {

double knob(const char* name, double otherwise) {
  const char* text = std::getenv(name);
  return text ? std::atof(text) : otherwise;
}

// Steps down, as fractions of the lower bound.
constexpr std::int64_t kFirstStep = 200;
constexpr std::int64_t kLastStep = 20'000;

// Nodes of one run, for each buffer and block of a window.
constexpr std::int64_t kRunNodes = 4;

// Blocks, for each free buffer, beyond which a window is not searched.


constexpr std::array<Configuration, 3> kConfigurations{
    {{Priority::kTotalSpanArea, Choice::kCriticalSection},
     {Priority::kTotalAreaSpan, Choice::kLowest},
     {Priority::kSizeSpanTotal, Choice::kCriticalSection}}};

// Bytes [begin, end) of the sections [first_section, end_section).
struct Block {
  std::int32_t first_section, end_section;
  std::int64_t begin, end;
};

class Windows {
 public:
  Windows(const Instance& instance, Packing& packing) : instance_(instance), packing_(packing) {}

  // Places the buffer and others around it below the target. False if the search cannot.
  bool lower(std::int32_t highest, std::int64_t target, const WindowLimits& limits,
             WindowRepairs& done, Control& control) {
    target -= target % instance_.granule;
    std::size_t tried = 0;
    for (std::size_t width = limits.narrowest;; width *= 2) {
      choose(highest, std::min(width, limits.widest));
      if (free_.size() == tried) return false;
      tried = free_.size();
      if (search(target, limits, done, control)) return true;
      if (width >= limits.widest || done.nodes >= limits.nodes || control.stop_now()) return false;
    }
  }

 private:
  std::int64_t top(std::int32_t v) const { return packing_.offsets[index(v)] + instance_.padded_size[index(v)]; }
  static std::size_t index(std::int32_t i) { return static_cast<std::size_t>(i); }

  // Fills free_: of the buffers that live within a stretch of sections around the buffer, those
  // that lie highest.
  void choose(std::int32_t highest, std::size_t count) {
    const std::int32_t first = instance_.first_section[index(highest)];
    const std::int32_t end = instance_.end_section[index(highest)];
    // How many sections the stretch has to reach beyond the buffer on both sides to hold another.
    std::vector<std::pair<std::int32_t, std::int32_t>> by_reach;
    for (std::size_t v = 0; v < instance_.buffers(); ++v) {
      const std::int32_t reach =
          std::max({0, first - instance_.first_section[v], instance_.end_section[v] - end});
      by_reach.emplace_back(reach, static_cast<std::int32_t>(v));
    }
    static const double slack = knob("WSLACK", 1.0);
    const auto wanted = static_cast<std::size_t>(slack * static_cast<double>(count));
    if (wanted < by_reach.size()) {
      std::nth_element(by_reach.begin(), by_reach.begin() + static_cast<std::ptrdiff_t>(wanted),
                       by_reach.end());
      const std::int32_t reach = by_reach[wanted].first;
      by_reach.erase(std::remove_if(by_reach.begin(), by_reach.end(),
                                    [reach](const auto& x) { return x.first > reach; }),
                     by_reach.end());
    }
    free_.clear();
    for (const auto& [reach, v] : by_reach) free_.push_back(v);
    if (free_.size() > count) {
      std::nth_element(free_.begin(), free_.begin() + static_cast<std::ptrdiff_t>(count) - 1,
                       free_.end(), [this](std::int32_t u, std::int32_t v) {
                         return top(u) != top(v) ? top(u) > top(v) : u < v;
                       });
      free_.resize(count);
    }
    std::sort(free_.begin(), free_.end());
  }

  bool search(std::int64_t target, const WindowLimits& limits, WindowRepairs& done,
              Control& control) {
    const std::vector<Block> blocks = pinned_blocks(target);
    static const double kb = knob("WBLOCKS", 2); if (static_cast<double>(blocks.size()) > kb * static_cast<double>(free_.size())) return false;
    Requests requests;
    auto add = [&requests](std::int64_t first, std::int64_t end, std::int64_t size,
                           std::int64_t alignment, std::int64_t fixed) {
      requests.lower.push_back(first);
      requests.upper.push_back(end);
      requests.size.push_back(size);
      requests.alignment.push_back(alignment);
      requests.fixed.push_back(fixed);
    };
    for (std::int32_t v : free_) {
      add(instance_.first_section[index(v)], instance_.end_section[index(v)],
          instance_.padded_size[index(v)], instance_.alignment[index(v)], -1);
    }
    for (const Block& block : blocks) {
      add(block.first_section, block.end_section, block.end - block.begin, instance_.granule,
          block.begin);
    }
    const Instance window = make_instance(std::move(requests));
    if (window.lower_bound > target) return false;
    const std::unique_ptr<PlacementSearch> search = make_placement_search(window);
    if (!search) return false;
    static const auto run_nodes = static_cast<std::int64_t>(knob("WNODES", kRunNodes));
    for (const Configuration& configuration : kConfigurations) {
      const Answer answer = search->run(
          target, configuration,
          run_nodes * static_cast<std::int64_t>(window.buffers()), control);
      done.nodes += search->nodes();
      ++done.searches;
      if (std::getenv("WLOG2")) std::fprintf(stderr, "  free %zu blocks %zu sections %d answer %d nodes %ld t %.4f target %.5f\n", free_.size(), blocks.size(), window.sections, int(answer), search->nodes(), control.elapsed_s(), double(target)/instance_.lower_bound);
      if (answer == Answer::kPlaced) {
        for (std::size_t k = 0; k < free_.size(); ++k) {
          packing_.offsets[index(free_[k])] = search->offsets()[k];
        }
        return true;
      }
      if (answer == Answer::kImpossible || done.nodes >= limits.nodes || control.stop_now()) break;
    }
    return false;
  }

  // What the others take from the free buffers below the target; and what is too small a gap for
  // any of them.
  std::vector<Block> pinned_blocks(std::int64_t target) const {
    std::vector<std::int32_t> times;
    for (std::int32_t v : free_) {
      times.push_back(instance_.first_section[index(v)]);
      times.push_back(instance_.end_section[index(v)]);
    }
    std::sort(times.begin(), times.end());
    times.erase(std::unique(times.begin(), times.end()), times.end());

    std::vector<Block> pinned;
    std::size_t next_free = 0;
    for (std::size_t v = 0; v < instance_.buffers(); ++v) {
      if (next_free < free_.size() && index(free_[next_free]) == v) {
        ++next_free;
        continue;
      }
      if (instance_.first_section[v] >= times.back() || instance_.end_section[v] <= times.front() ||
          packing_.offsets[v] >= target) {
        continue;
      }
      pinned.push_back({instance_.first_section[v], instance_.end_section[v], packing_.offsets[v],
                        std::min(target, packing_.offsets[v] + instance_.padded_size[v])});
    }
    std::sort(pinned.begin(), pinned.end(), [](const Block& x, const Block& y) {
      return x.begin != y.begin ? x.begin < y.begin : x.first_section < y.first_section;
    });

    std::vector<Block> blocks;
    std::vector<std::size_t> open, still_open;  // blocks that reach to the current time, ascending
    for (std::size_t t = 0; t + 1 < times.size(); ++t) {
      std::int64_t smallest = -1;
      for (std::int32_t v : free_) {
        if (instance_.first_section[index(v)] <= times[t] &&
            instance_.end_section[index(v)] > times[t] &&
            (smallest < 0 || instance_.padded_size[index(v)] < smallest)) {
          smallest = instance_.padded_size[index(v)];
        }
      }
      still_open.clear();
      if (smallest >= 0) {
        std::size_t k = 0;
        auto close = [&](std::int64_t begin, std::int64_t end) {
          if (begin >= end) return;
          while (k < open.size() && blocks[open[k]].begin < begin) ++k;
          if (k < open.size() && blocks[open[k]].begin == begin && blocks[open[k]].end == end) {
            blocks[open[k]].end_section = times[t + 1];
            still_open.push_back(open[k]);
          } else {
            still_open.push_back(blocks.size());
            blocks.push_back({times[t], times[t + 1], begin, end});
          }
        };
        std::int64_t begin = 0, end = 0;
        for (const Block& block : pinned) {
          if (block.first_section >= times[t + 1] || block.end_section <= times[t]) continue;
          if (block.begin >= end + smallest) {
            close(begin, end);
            begin = block.begin;
          }
          end = std::max(end, block.end);
        }
        if (target - end < smallest) end = target;
        close(begin, end);
      }
      open.swap(still_open);
    }
    return blocks;
  }

  const Instance& instance_;
  Packing& packing_;
  std::vector<std::int32_t> free_;  // ascending
};

}  // namespace

WindowRepairs repair_windows(const Instance& instance, Packing& packing, std::int64_t goal,
                             WindowLimits limits, Control& control) {
  WindowRepairs done;
  goal = std::max(goal, instance.lower_bound);
  Windows windows(instance, packing);
  std::int64_t step = std::max<std::int64_t>(1, (packing.height - goal));
  const std::int64_t last_step = std::max<std::int64_t>(1, instance.lower_bound / kLastStep);
  auto highest = [&] {
    std::size_t best = 0;
    for (std::size_t v = 1; v < instance.buffers(); ++v) {
      if (packing.offsets[v] + instance.size[v] > packing.offsets[best] + instance.size[best]) best = v;
    }
    return static_cast<std::int32_t>(best);
  };
  std::int64_t target = std::max(goal, packing.height - step);
  while (packing.height > goal && done.nodes < limits.nodes && !control.stop_now()) {
    if (!windows.lower(highest(), target, limits, done, control)) {
      if (step <= last_step) break;
      step = std::max(last_step, step / 4);
      target = std::max(goal, packing.height - step);
      continue;
    }
    const std::int64_t height = packing_height(instance, packing.offsets);
    done.lower = done.lower || height < packing.height;
    packing.height = height;
    if (height <= target) target = std::max(goal, height - step);
  }
  return done;
}

}  // namespace planner::offsets
