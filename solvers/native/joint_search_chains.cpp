#include "joint_search_chains.hpp"

#include <algorithm>

namespace planner::joint {

SafeChains::SafeChains(const JointModel& model, Residency& residency)
    : model_(model),
      residency_(residency),
      last_(model.operators),
      by_storage_(index(model.storages())),
      by_operator_(index(model.operators)),
      is_affected_(index(model.operators), 0) {}

void SafeChains::affect(std::int32_t x) {
  if (x >= last_ || is_affected_[index(x)]) return;
  is_affected_[index(x)] = 1;
  affected_.push_back(x);
}

void SafeChains::affect_users(std::int32_t s) {
  for (const std::int32_t x : by_storage_[index(s)]) affect(x);
}

void SafeChains::affect_by(std::int32_t v) {
  for (const std::int32_t s : model_.uses[v]) affect_users(s);
  for (const std::int32_t q : model_.successors[v]) {
    affect(q);
    for (const std::int32_t x : by_operator_[index(q)]) affect(x);
  }
}

void SafeChains::close_affected() {
  std::vector<std::int32_t> chain;
  for (bool found = true; found;) {
    found = false;
    std::sort(affected_.begin(), affected_.end());
    for (const std::int32_t x : affected_) {
      if (!residency_.is_ready(x)) continue;
      const std::int64_t rise = residency_.find_chain(x, last_);
      if (rise > model_.capacity - residency_.used()) continue;
      chain = residency_.chain();
      found = true;
      break;
    }
    if (!found) break;
    for (const std::int32_t v : chain) {
      residency_.run(v);
      affect_by(v);
    }
  }
  for (const std::int32_t x : affected_) is_affected_[index(x)] = 0;
  affected_.clear();
}

void SafeChains::close_all() {
  // Chains never looked at are affected as soon as they may start.
  for (const std::int32_t s : storages_) by_storage_[index(s)].clear();
  for (const std::int32_t v : operators_) by_operator_[index(v)].clear();
  for (bool found = true; found;) {
    const std::size_t before = residency_.trail().size();
    for (const std::int32_t x : residency_.ready()) affect(x);
    close_affected();
    found = residency_.trail().size() > before;
  }
}

void SafeChains::watch() {
  for (const std::int32_t s : storages_) by_storage_[index(s)].clear();
  for (const std::int32_t v : operators_) by_operator_[index(v)].clear();
  storages_.clear();
  operators_.clear();
  crowded_.clear();
  for (const std::int32_t x : residency_.ready()) {
    if (x >= last_) continue;
    if (residency_.find_chain(x, last_) != Residency::kNever) crowded_.push_back(x);
    for (const std::int32_t y : residency_.examined())
      for (const std::int32_t s : model_.uses[y]) {
        std::vector<std::int32_t>& row = by_storage_[index(s)];
        if (row.empty()) storages_.push_back(s);
        if (row.empty() || row.back() != x) row.push_back(x);
      }
    for (const std::int32_t q : residency_.waiting()) {
      if (by_operator_[index(q)].empty()) operators_.push_back(q);
      by_operator_[index(q)].push_back(x);
    }
  }
}

void SafeChains::close(const std::vector<std::int32_t>& evicted) {
  for (const std::int32_t x : crowded_) affect(x);
  for (const std::int32_t s : evicted) affect_users(s);
  for (const std::int32_t v : residency_.trail()) affect_by(v);
  close_affected();
}

}  // namespace planner::joint
