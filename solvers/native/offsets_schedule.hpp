// At which capacities, with which configurations and node limits a component is searched.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "control.hpp"
#include "offsets_bounds.hpp"
#include "offsets_greedy.hpp"
#include "offsets_instance.hpp"
#include "offsets_search.hpp"

namespace planner::offsets {

// The best packing of one component and the best bound on it, improved step by step.
class ScheduledSearch {
 public:
  // Refers to the instance, whose packing is the start.
  ScheduledSearch(const Instance& instance, GreedyResult start);

  const Packing& packing() const { return packing_; }
  std::int64_t lower_bound() const { return lower_bound_; }
  // The search finds nothing lower; above the bound where it is not complete.
  std::int64_t search_bound() const { return std::max(lower_bound_, exhausted_below_); }
  const std::string& order() const { return order_; }  // what gave the packing
  std::int64_t nodes() const { return nodes_; }
  int searches() const { return searches_; }

  // Takes a packing from elsewhere if it is lower.
  void adopt(Packing packing, const char* order);

  // One run of the search at a capacity from `floor` (or the bound, if that is higher) to just
  // below the height. False if the instance is too large for that and repairs lead nowhere, or if
  // no choice of overwrites seems to lead anywhere.
  bool try_lower(std::int64_t floor, Control& control);

  // One run at the capacity. Raises the bound above it if it proves that nothing fits.
  bool try_fit(std::int64_t capacity, Control& control);

 private:
  struct Try {
    std::int64_t capacity;
    int configuration;
    std::int64_t node_limit;
  };

  Try next_fitting(std::int64_t capacity);
  Try next_lowering(std::int64_t floor);
  bool run(const Try& next, Control& control);
  bool repair_further(std::int64_t goal, Control& control);
  void repair_by_chains(std::int64_t goal, Control& control);
  void repair_by_windows(std::int64_t goal, Control& control);
  bool refute_window(std::int64_t capacity, Control& control);
  std::int64_t highest_height_up_to(std::int64_t capacity) const;
  std::int64_t lowest_height_above(std::int64_t capacity) const;

  const Instance& instance_;
  Packing packing_;
  std::int64_t lower_bound_;
  std::int64_t exhausted_below_ = 0;
  std::string order_;
  std::int64_t unit_;
  std::unique_ptr<PlacementSearch> search_;  // made at the first run
  bool too_large_ = false;
  std::int64_t nodes_ = 0;
  int searches_ = 0;
  struct Turns {
    int turns = 0, vain = 0;
  };
  Turns chain_repairs_, window_repairs_;
  int repairs_ = 0;
  int vain_choices_ = 0;
  int lowering_tries_ = 0, fitting_tries_ = 0;
  std::int64_t fitting_nodes_ = 0;
  bool minimising_ = false;
  std::unique_ptr<WindowBounds> windows_;  // made when the search has had its first chance
  int proof_tries_ = 0;
  std::int64_t nodes_at_last_proof_ = 0;
};

}  // namespace planner::offsets
