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

// The searches of all parts, and the packing of the whole that they make together.
class WholeSearch {
 public:
  WholeSearch(const Instance& instance, const std::vector<Part>& parts,
              std::vector<ScheduledSearch>& searches, SharedBest* shared)
      : instance_(instance), parts_(parts), searches_(searches), shared_(shared) {
    publish();
  }

  // Works on the highest component, the only one that matters, until its height is proven.
  void minimise(Control& control) {
    adopt();
    while (!control.stop_now()) {
      ScheduledSearch& search = *highest();
      const std::int64_t bound = lower_bound();
      const std::int64_t reachable = std::max(bound, search.search_bound());
      if (search.packing().height <= reachable || !search.try_lower(bound, control)) return;
      publish();
      adopt();
    }
  }

  // Takes turns over the components that do not fit yet, until one is proven not to, or none that
  // the search may still fit is left.
  void fit(std::int64_t capacity, Control& control) {
    adopt();
    for (bool open = true; open;) {
      open = false;
      for (ScheduledSearch& search : searches_) {
        if (search.packing().height <= capacity || search.search_bound() > capacity) continue;
        if (control.stop_now() || !search.try_fit(capacity, control)) return;
        publish();
        adopt();
        if (lower_bound() > capacity) return;
        open = open ||
               (search.packing().height > capacity && search.search_bound() <= capacity);
      }
    }
  }

  std::int64_t lower_bound() const {
    std::int64_t bound = shared_ != nullptr ? shared_->lower_bound() : 0;
    for (const ScheduledSearch& search : searches_) {
      bound = std::max(bound, search.lower_bound());
    }
    return bound;
  }

  Packing packing() const {
    Packing whole{std::vector<std::int64_t>(instance_.buffers()), 0};
    for (std::size_t p = 0; p < parts_.size(); ++p) {
      const Packing& own = searches_[p].packing();
      whole.height = std::max(whole.height, own.height);
      for (std::size_t k = 0; k < own.offsets.size(); ++k) {
        whole.offsets[static_cast<std::size_t>(parts_[p].buffers[k])] = own.offsets[k];
      }
    }
    return whole;
  }

  std::string order() const { return searches_.empty() ? "" : highest()->order(); }

 private:
  std::vector<ScheduledSearch>::iterator highest() const {
    return std::max_element(searches_.begin(), searches_.end(),
                            [](const ScheduledSearch& x, const ScheduledSearch& y) {
                              return x.packing().height < y.packing().height;
                            });
  }

  void publish() {
    if (shared_ == nullptr || searches_.empty()) return;
    shared_->offer_bound(lower_bound());
    if (highest()->packing().height < shared_->height()) shared_->offer(packing());
  }

  // Each part for itself: what is high in one may be low in another.
  void adopt() {
    if (shared_ == nullptr || highest()->packing().height <= shared_->height()) return;
    const Packing whole = shared_->packing();
    for (std::size_t p = 0; p < parts_.size(); ++p) {
      Packing own;
      own.offsets.reserve(parts_[p].buffers.size());
      for (std::int32_t v : parts_[p].buffers) {
        own.offsets.push_back(whole.offsets[static_cast<std::size_t>(v)]);
      }
      own.height = packing_height(parts_[p].instance, own.offsets);
      searches_[p].adopt(std::move(own), "shared incumbent");
    }
  }

  const Instance& instance_;
  const std::vector<Part>& parts_;
  std::vector<ScheduledSearch>& searches_;
  SharedBest* shared_;
};

}  // namespace

std::int64_t lower_bound(const Instance& instance) {
  std::int64_t bound = 0;
  for (const Part& part : split(instance)) bound = std::max(bound, part.instance.lower_bound);
  return bound;
}

PackResult pack(const Instance& instance, const std::vector<std::int64_t>& hint,
                std::int64_t capacity, bool search, Control& control, SharedBest* shared) {
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
  WholeSearch whole(instance, parts, searches, shared);
  if (search && !searches.empty()) {
    if (capacity < 0) {
      whole.minimise(control);
    } else if (bound <= capacity) {
      whole.fit(capacity, control);
    }
  }

  result.packing = whole.packing();
  result.lower_bound = whole.lower_bound();
  result.order = whole.order();
  for (const ScheduledSearch& own : searches) {
    result.nodes += own.nodes();
    result.searches += own.searches();
  }
  return result;
}

}  // namespace planner::offsets
