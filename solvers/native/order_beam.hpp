// Beam search over downsets: what is left when the exact search does not end in time.
#pragma once

#include <cstdint>
#include <optional>

#include "control.hpp"
#include "order_path.hpp"

namespace planner::order {

// Goes through the downsets by their number of operators and keeps the `width` best of each number:
// lowest level, then fewest live bytes. Drops what comes while `memory_bytes` are in use. Returns
// an order with a peak below `upper` if it finds one.
std::optional<Order> beam_order(const OrderModel& model, std::int64_t level, std::int64_t upper,
                                Rules rules, std::int32_t width, std::int64_t memory_bytes,
                                Control& control);

}  // namespace planner::order
