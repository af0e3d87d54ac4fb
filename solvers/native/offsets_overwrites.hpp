// Which buffers are written over which: what is chosen is merged, and the rest kept apart.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <random>
#include <vector>

#include "control.hpp"
#include "offsets_instance.hpp"
#include "offsets_search.hpp"

namespace planner::offsets {

// An instance without constraints, in which the buffers that are chosen to lie at one offset are
// one buffer.
struct Merged {
  Instance instance;
  std::vector<std::int32_t> buffer_of;  // of each buffer of the instance with overwrites

  std::vector<std::int64_t> unmerged(const std::vector<std::int64_t>& offsets) const;
};

// For each buffer the one that it overwrites, or -1. Nobody is overwritten twice.
using Overwritten = std::vector<std::int32_t>;

// The choices that an instance with only overwrites leaves. Refers to the instance.
class OverwriteChoices {
 public:
  explicit OverwriteChoices(const Instance& instance);

  Overwritten youngest() const;  // of the buffers that may be overwritten the one that begins last
  Overwritten oldest() const;

  // Of those chosen the ones without which some section exceeds the capacity.
  Overwritten required(const Overwritten& chosen, std::int64_t capacity) const;

  // Some chosen anew at random; sometimes none, where the capacity allows it.
  Overwritten vary(const Overwritten& chosen, std::int64_t capacity,
                   std::mt19937_64& random) const;

  // All there are, those that merge most first; none if there are more than so many.
  std::vector<Overwritten> all(std::size_t most) const;

  Merged merge(const Overwritten& chosen) const;

 private:
  template <class Choose>
  Overwritten choose(Choose choose) const;
  bool may_overwrite(const Overwritten& chosen, std::int32_t u, std::int32_t v) const;
  bool is_required(std::int32_t buffer, std::int64_t capacity) const;

  const Instance& instance_;
  std::vector<std::int32_t> by_start_;
  std::vector<std::vector<std::int32_t>> options_;  // of each buffer, by ascending start
  std::vector<std::vector<std::int32_t>> overwriters_;  // and who may overwrite it
};

// Searches the merged instances of all choices if there are few; else of some by turns, random ones
// among them, and then what it exhausts proves nothing.
std::unique_ptr<PlacementSearch> make_overwrite_search(const Instance& instance);

}  // namespace planner::offsets
