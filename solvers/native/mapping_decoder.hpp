// From priorities to residencies: greedy over buffers, or over (buffer, next use) by what is left
// to gain.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "control.hpp"
#include "mapping_state.hpp"

namespace planner::mapping {

constexpr int kFeatures = 14;
using Weights = std::array<double, kFeatures>;

// The static keys: gain over size^0.5 (XLA's), size, size * span, (size * span)^0.5.
constexpr int kStaticKeys = 4;
struct StaticKey {
  double size;
  double span;
};
constexpr std::array<StaticKey, kStaticKeys> kStaticKey = {
    {{0.5, 0.0}, {1.0, 0.0}, {1.0, 1.0}, {0.5, 0.5}}};

// Ticks still to gain from that use of the buffer on, up to the next that is served fast.
Ticks gain_from(const MappingState& state, std::int32_t buffer, std::int32_t use);

// Places whole buffers in decreasing order of their keys; those with key -infinity not at all.
void decode_buffers(MappingState& state, const std::vector<double>& keys, const Reach& reach,
                    Control& control);

// Keys of the first decoder: log benefit with everything served slow, less the static key.
std::vector<double> static_keys(const MappingState& state, const StaticKey& key);

// What is known of the next residency of a buffer.
void features(const MappingState& state, std::int32_t buffer, std::int32_t use, Ticks gain,
              std::array<double, kFeatures>& values);

// Places residencies in decreasing order of log gain - 0.5 log size + weights . features +
// residual of the first access, all of them as they are when their turn comes. Where only the
// first two features, log size and log span, have weights, the others are not computed.
// `residual` is empty or has one entry per access.
void decode_marginal(MappingState& state, const Weights& weights,
                     const std::vector<double>& residual, const Reach& reach, Control& control);

// The same for residencies that begin with one of these accesses; each is tried once.
void decode_uses(MappingState& state, const std::vector<std::int32_t>& accesses,
                 const Weights& weights, const std::vector<double>& residual, const Reach& reach,
                 Control& control);

}  // namespace planner::mapping
