#include "offsets_pack.hpp"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "offsets_constraints.hpp"
#include "offsets_schedule.hpp"

namespace planner::offsets {
namespace {

struct Part {
  std::vector<std::int32_t> buffers;
  Instance instance;
};

std::vector<Part> split(const Instance& instance) {
  std::vector<Part> parts;
  for (std::vector<std::int32_t>& group : components(instance)) {
    Instance own = subset(instance, group);
    parts.push_back({std::move(group), std::move(own)});
  }
  return parts;
}

std::int64_t largest_bound(const std::vector<ScheduledSearch>& searches) {
  std::int64_t bound = 0;
  for (const ScheduledSearch& search : searches) bound = std::max(bound, search.lower_bound());
  return bound;
}

// Works on the highest component, the only one that matters, until its height is proven.
void minimise(std::vector<ScheduledSearch>& searches, Control& control) {
  while (!control.stop_now()) {
    ScheduledSearch& highest = *std::max_element(
        searches.begin(), searches.end(), [](const ScheduledSearch& x, const ScheduledSearch& y) {
          return x.packing().height < y.packing().height;
        });
    const std::int64_t bound = largest_bound(searches);
    if (highest.packing().height <= std::max(bound, highest.search_bound())) return;
    if (!highest.try_lower(bound, control)) return;
  }
}

// Takes turns over the components that do not fit yet, until one is proven not to, or none that the
// search may still fit is left.
void fit(std::vector<ScheduledSearch>& searches, std::int64_t capacity, Control& control) {
  for (bool open = true; open;) {
    open = false;
    for (ScheduledSearch& search : searches) {
      if (search.packing().height <= capacity || search.search_bound() > capacity) continue;
      if (control.stop_now() || !search.try_fit(capacity, control)) return;
      if (search.lower_bound() > capacity) return;
      open = open || search.packing().height > capacity;
    }
  }
}

}  // namespace

std::int64_t lower_bound(const Instance& instance) {
  std::int64_t bound = 0;
  for (const Part& part : split(instance)) bound = std::max(bound, part.instance.lower_bound);
  return bound;
}

PackResult pack(const Instance& instance, const std::vector<std::int64_t>& hint,
                std::int64_t capacity, bool search, Control& control) {
  PackResult result;
  const std::vector<Part> parts = split(instance);
  std::int64_t bound = 0;
  for (const Part& part : parts) bound = std::max(bound, part.instance.lower_bound);
  result.components = static_cast<int>(parts.size());
  result.lower_bound = bound;
  result.clash = clashing_pins(instance);
  if (result.clash) return result;
  // A component lower than another's bound is as good as the lowest one.
  const std::int64_t good_enough = std::max(capacity, bound);
  std::vector<ScheduledSearch> searches;
  searches.reserve(parts.size());
  for (const Part& part : parts) {
    std::vector<std::int64_t> own_hint;
    if (!hint.empty()) {
      for (std::int32_t v : part.buffers) own_hint.push_back(hint[static_cast<std::size_t>(v)]);
    }
    searches.emplace_back(part.instance,
                          pack_greedily(part.instance, own_hint, good_enough, control));
  }
  if (search && !searches.empty()) {
    if (capacity < 0) {
      minimise(searches, control);
    } else if (bound <= capacity) {
      fit(searches, capacity, control);
    }
  }

  result.packing.offsets.resize(instance.buffers());
  if (!searches.empty()) result.lower_bound = largest_bound(searches);
  for (std::size_t p = 0; p < parts.size(); ++p) {
    const Packing& packing = searches[p].packing();
    for (std::size_t k = 0; k < parts[p].buffers.size(); ++k) {
      result.packing.offsets[static_cast<std::size_t>(parts[p].buffers[k])] = packing.offsets[k];
    }
    if (packing.height > result.packing.height) {
      result.packing.height = packing.height;
      result.order = searches[p].order();
    }
    result.nodes += searches[p].nodes();
    result.searches += searches[p].searches();
  }
  return result;
}

}  // namespace planner::offsets
