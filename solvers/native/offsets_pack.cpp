#include "offsets_pack.hpp"

#include <algorithm>
#include <cstddef>
#include <utility>

namespace planner::offsets {
namespace {

struct Part {
  std::vector<std::int32_t> buffers;
  Instance instance;
  GreedyResult greedy;
};

std::vector<Part> split(const Instance& instance) {
  std::vector<Part> parts;
  for (std::vector<std::int32_t>& group : components(instance)) {
    Instance own = subset(instance, group);
    parts.push_back({std::move(group), std::move(own), {}});
  }
  return parts;
}

std::int64_t largest_bound(const std::vector<Part>& parts) {
  std::int64_t bound = 0;
  for (const Part& part : parts) bound = std::max(bound, part.instance.lower_bound);
  return bound;
}

}  // namespace

std::int64_t lower_bound(const Instance& instance) { return largest_bound(split(instance)); }

PackResult pack(const Instance& instance, const std::vector<std::int64_t>& hint,
                std::int64_t capacity, bool search, Control& control) {
  PackResult result;
  result.packing.offsets.resize(instance.buffers());
  std::vector<Part> parts = split(instance);
  result.components = static_cast<int>(parts.size());
  result.lower_bound = largest_bound(parts);
  // A component lower than another's bound is as good as the lowest one.
  const std::int64_t good_enough = std::max(capacity, result.lower_bound);
  for (Part& part : parts) {
    std::vector<std::int64_t> own_hint;
    if (!hint.empty()) {
      for (std::int32_t v : part.buffers) own_hint.push_back(hint[static_cast<std::size_t>(v)]);
    }
    part.greedy = pack_greedily(part.instance, own_hint, good_enough, control);
  }
  (void)search;
  for (const Part& part : parts) {
    for (std::size_t k = 0; k < part.buffers.size(); ++k) {
      result.packing.offsets[static_cast<std::size_t>(part.buffers[k])] =
          part.greedy.packing.offsets[k];
    }
    if (part.greedy.packing.height > result.packing.height) {
      result.packing.height = part.greedy.packing.height;
      result.order = part.greedy.order;
    }
  }
  return result;
}

}  // namespace planner::offsets
