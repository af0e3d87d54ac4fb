#include "order_downset.hpp"

#include <algorithm>

#include "order_bits.hpp"

namespace planner::order {

std::uint64_t hash_of_word(std::size_t word, std::uint64_t bits) {
  // splitmix64
  std::uint64_t z = bits + (static_cast<std::uint64_t>(word) + 1) * 0x9E3779B97F4A7C15ull;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
  return z ^ (z >> 31);
}

Downset::Downset(const OrderModel& model)
    : model_(model),
      bits_((index(model.operators) + 63) / 64, 0),
      live_(live_at_start(model)),
      position_(index(model.operators), -1),
      missing_(index(model.operators)),
      missing_sum_(index(model.operators), 0),
      remaining_(model.size.size()),
      started_(model.size.size()),
      rise_(index(model.operators), kNoChain),
      is_outdated_(index(model.operators), 0) {
  for (std::size_t word = 0; word < bits_.size(); ++word) hash_ ^= hash_of_word(word, 0);
  for (std::int32_t s = 0; s < model.storages(); ++s) {
    remaining_[index(s)] = model.users[s].size() + model.kept[index(s)];
    started_[index(s)] = model.starters[s].empty() ? 1 : 0;
  }
  for (std::int32_t v = 0; v < model.operators; ++v) {
    missing_[index(v)] = model.predecessors[v].size();
    for (const std::int32_t p : model.predecessors[v])
      missing_sum_[index(v)] += static_cast<std::uint32_t>(p);
    if (missing_[index(v)] == 0) add_ready(v);
  }
  bound_steps();
  std::size_t leaves = 1;
  while (leaves < index(model.operators)) leaves *= 2;
  winner_.assign(2 * leaves, -1);
  for (std::int32_t v = 0; v < model.operators; ++v) winner_[leaves + index(v)] = v;
  for (std::size_t node = leaves - 1; node > 0; --node)
    winner_[node] = better_of(winner_[2 * node], winner_[2 * node + 1]);
}

std::int64_t Downset::charge(std::int32_t v) const {
  std::int64_t bytes = 0;
  for (const std::int32_t s : model_.starts[v])
    if (started_[index(s)] == 0) bytes += model_.size[index(s)];
  return bytes;
}

std::int64_t Downset::gain(std::int32_t v) const {
  std::int64_t bytes = 0;
  for (const std::int32_t s : model_.in_place[v])
    if (remaining_[index(s)] == 1) bytes = std::max(bytes, model_.size[index(s)]);
  return bytes;
}

std::int64_t Downset::freed(std::int32_t v) const {
  std::int64_t bytes = 0;
  for (const std::int32_t s : model_.uses[v])
    if (remaining_[index(s)] == 1) bytes += model_.size[index(s)];
  return bytes;
}

void Downset::add_ready(std::int32_t v) {
  position_[index(v)] = static_cast<std::int32_t>(ready_.size());
  ready_.push_back(v);
  invalidate_chain(v);
}

void Downset::remove_ready(std::int32_t v) {
  const std::int32_t last = ready_.back();
  ready_[index(position_[index(v)])] = last;
  position_[index(last)] = position_[index(v)];
  ready_.pop_back();
  position_[index(v)] = -1;
  invalidate_chain(v);
}

void Downset::flip(std::int32_t v) {
  const std::size_t word = index(v) >> 6;
  hash_ ^= hash_of_word(word, bits_[word]);
  bits_[word] ^= std::uint64_t{1} << (v & 63);
  hash_ ^= hash_of_word(word, bits_[word]);
}

// The counters alone: as if v had run.
void Downset::count(std::int32_t v) {
  for (const std::int32_t s : model_.uses[v]) --remaining_[index(s)];
  for (const std::int32_t s : model_.starts[v]) ++started_[index(s)];
  for (const std::int32_t q : model_.successors[v]) {
    --missing_[index(q)];
    missing_sum_[index(q)] -= static_cast<std::uint32_t>(v);
  }
}

void Downset::uncount(std::int32_t v) {
  for (const std::int32_t s : model_.uses[v]) ++remaining_[index(s)];
  for (const std::int32_t s : model_.starts[v]) --started_[index(s)];
  for (const std::int32_t q : model_.successors[v]) {
    ++missing_[index(q)];
    missing_sum_[index(q)] += static_cast<std::uint32_t>(v);
  }
}

void Downset::invalidate_chain(std::int32_t x) {
  if (is_outdated_[index(x)]) return;
  is_outdated_[index(x)] = 1;
  outdated_.push_back(x);
}

// If v lies on the chain of x then so do all its missing predecessors: any of them leads to x.
void Downset::invalidate_chain_through(std::int32_t v) {
  for (std::int32_t step = 0; step < kChainLimit && missing_[index(v)] != 0; ++step) {
    if (missing_[index(v)] > kChainLimit) return;
    if (missing_[index(v)] == 1) {
      v = static_cast<std::int32_t>(missing_sum_[index(v)]);
      continue;
    }
    const Span predecessors = model_.predecessors[v];
    const std::int32_t* p = predecessors.end() - 1;
    while (contains(*p)) --p;
    v = *p;
  }
  if (missing_[index(v)] == 0) invalidate_chain(v);
}

void Downset::invalidate_chains_sharing_with(std::int32_t v) {
  for (const std::int32_t s : model_.uses[v]) {
    // With more users outside than a chain is long, no chain frees or overwrites s.
    if (model_.kept[index(s)] || remaining_[index(s)] > kChainLimit) continue;
    for (const std::int32_t k : model_.users[s])
      if (!contains(k)) invalidate_chain_through(k);
  }
  for (const std::int32_t s : model_.starts[v]) {
    if (started_[index(s)] > 1) continue;
    for (const std::int32_t p : model_.starters[s])
      if (!contains(p)) invalidate_chain_through(p);
  }
}

void Downset::run(std::int32_t v) {
  live_ += growth(v);
  remove_ready(v);
  flip(v);
  ++done_;
  count(v);
  for (const std::int32_t q : model_.successors[v]) {
    if (missing_[index(q)] == 0)
      add_ready(q);
    else
      invalidate_chain_through(q);
  }
  invalidate_chains_sharing_with(v);
}

void Downset::unrun(std::int32_t v) {
  for (const std::int32_t q : model_.successors[v]) {
    if (missing_[index(q)] == 0)
      remove_ready(q);
    else
      invalidate_chain_through(q);
  }
  // Before the counters change: the same storages are shared by the same chains as after run(v).
  invalidate_chains_sharing_with(v);
  uncount(v);
  flip(v);
  --done_;
  add_ready(v);
  live_ -= growth(v);
}

void Downset::move_to(const Bits& bits) {
  // Leaving goes from the last operator to the first and joining the other way, as indices are
  // topological: every step is between downsets.
  for (std::size_t word = bits_.size(); word-- > 0;) {
    std::uint64_t surplus = bits_[word] & ~bits[word];
    while (surplus != 0) {
      const int bit = highest_bit(surplus);
      surplus ^= std::uint64_t{1} << bit;
      unrun(static_cast<std::int32_t>(word * 64) + bit);
    }
  }
  for (std::size_t word = 0; word < bits_.size(); ++word) {
    std::uint64_t lacking = bits[word] & ~bits_[word];
    while (lacking != 0) {
      const int bit = lowest_bit(lacking);
      lacking &= lacking - 1;
      run(static_cast<std::int32_t>(word * 64) + bit);
    }
  }
}

// The rise of the chain that starts with x, whose operators go to chain_; kNoChain if it does not
// come down again. Leaves the downset as it was.
std::int64_t Downset::follow_chain(std::int32_t x) {
  chain_.clear();
  std::int64_t net = 0;
  std::int64_t rise = 0;
  bool comes_down = false;
  for (std::int32_t y = x; y >= 0;) {
    const std::int64_t charged = charge(y);
    rise = std::max(rise, net + charged - gain(y));
    net += charged - freed(y);
    chain_.push_back(y);
    count(y);
    if (net <= 0) {
      comes_down = true;
      break;
    }
    std::int32_t next = -1;
    if (static_cast<std::int32_t>(chain_.size()) < kChainLimit) {
      std::int64_t least = kNoChain;
      for (const std::int32_t q : model_.successors[y]) {
        if (missing_[index(q)] != 0 || growth(q) >= least) continue;
        least = growth(q);
        next = q;
      }
    }
    y = next;
  }
  for (std::size_t i = chain_.size(); i-- > 0;) uncount(chain_[i]);
  return comes_down ? rise : kNoChain;
}

std::int32_t Downset::better_of(std::int32_t a, std::int32_t b) const {
  return b < 0 || rise_[index(a)] <= rise_[index(b)] ? a : b;
}

void Downset::play_matches_of(std::int32_t v) {
  for (std::size_t node = (winner_.size() / 2 + index(v)) / 2; node > 0; node /= 2) {
    const std::int32_t winner = better_of(winner_[2 * node], winner_[2 * node + 1]);
    if (winner == winner_[node] && winner != v) return;
    winner_[node] = winner;
  }
}

void Downset::refresh_chains() {
  for (const std::int32_t x : outdated_) {
    is_outdated_[index(x)] = 0;
    const std::int64_t rise = is_ready(x) ? follow_chain(x) : kNoChain;
    if (rise == rise_[index(x)]) continue;
    rise_[index(x)] = rise;
    play_matches_of(x);
  }
  outdated_.clear();
}

void Downset::close(std::int64_t level, std::vector<std::int32_t>& trail) {
  for (;;) {
    refresh_chains();
    const std::int32_t x = winner_[1];
    if (x < 0 || rise_[index(x)] > level - live_) return;
    follow_chain(x);
    for (const std::int32_t y : chain_) {
      run(y);
      trail.push_back(y);
    }
  }
}

}  // namespace planner::order
