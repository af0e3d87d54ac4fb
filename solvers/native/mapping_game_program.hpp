// What is known of a program before the first move of its game.
#pragma once

#include <cstdint>
#include <vector>

#include "mapping_model.hpp"

namespace planner::mapping {

struct GameProgram {
  explicit GameProgram(const MappingModel& described);

  const MappingModel* model;
  std::vector<Ticks> slow_time;  // of each row, everything served slow
  std::vector<Ticks> fast_time;  // of each row, everything served fast
  Ticks all_slow = 0;
  Ticks all_fast = 0;
  double mean_time = 1.0;  // of a row, everything served slow

  // Of each access: what the row gains if it alone is served fast; the same from this access of
  // the buffer on; the rank of that over the square root of the size, and over size times rows
  // until the next access, among all accesses, from 0, the least, to 1.
  std::vector<Ticks> alone;
  std::vector<Ticks> alone_onwards;
  std::vector<float> rank_by_size;
  std::vector<float> rank_by_span;

  // Sums over rows before each boundary: slow less fast time in mean rows; bytes of accesses in
  // capacities; bytes of buffers first accessed; ticks of copies into the fast memory of these
  // in mean rows.
  std::vector<float> excess_before;
  std::vector<float> accessed_before;
  std::vector<float> first_bytes_before;
  std::vector<float> first_copies_before;
};

}  // namespace planner::mapping
