#include "offsets_constraints.hpp"

#include <algorithm>
#include <cstddef>

namespace planner::offsets {

ConstrainedDecoder::ConstrainedDecoder(const Instance& instance)
    : instance_(instance), occupancy_(instance.sections), offsets_(instance.buffers()) {}

std::int64_t ConstrainedDecoder::run(const std::vector<std::int32_t>& order, std::int64_t limit,
                                     std::uint64_t work_limit, Control* control) {
  occupancy_.clear();
  std::int64_t height = 0;
  for (const bool pinned : {true, false}) {
    for (std::int32_t buffer : order) {
      const auto v = static_cast<std::size_t>(buffer);
      if (instance_.pinned(v) != pinned) continue;
      if (control != nullptr && control->stop()) return limit;
      if (occupancy_.work() > work_limit) return limit;
      const std::int64_t size = instance_.padded_size[v];
      occupancy_.select(instance_.first_section[v], instance_.end_section[v]);
      offsets_[v] =
          pinned ? instance_.fixed[v] : occupancy_.first_fit(size, instance_.alignment[v]);
      occupancy_.occupy(offsets_[v], size);
      height = std::max(height, offsets_[v] + instance_.size[v]);
      if (height >= limit) return height;
    }
  }
  return height;
}

std::optional<std::pair<std::int32_t, std::int32_t>> clashing_pins(const Instance& instance) {
  if (instance.fixed.empty()) return std::nullopt;
  Occupancy occupancy(instance.sections);
  for (std::size_t v = 0; v < instance.buffers(); ++v) {
    if (!instance.pinned(v)) continue;
    const std::int64_t offset = instance.fixed[v];
    const std::int64_t size = instance.padded_size[v];
    occupancy.select(instance.first_section[v], instance.end_section[v]);
    if (occupancy.first_fit(size, 1, offset) == offset) {
      occupancy.occupy(offset, size);
      continue;
    }
    for (std::size_t u = 0; u < v; ++u) {
      if (instance.pinned(u) && instance.first_section[u] < instance.end_section[v] &&
          instance.first_section[v] < instance.end_section[u] &&
          instance.fixed[u] < offset + size &&
          offset < instance.fixed[u] + instance.padded_size[u]) {
        return {{static_cast<std::int32_t>(u), static_cast<std::int32_t>(v)}};
      }
    }
  }
  return std::nullopt;
}

}  // namespace planner::offsets
