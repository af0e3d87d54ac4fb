#include "joint_search_solve.hpp"

#include <algorithm>
#include <ctime>
#include <limits>
#include <utility>

#include "joint_residency.hpp"
#include "joint_search.hpp"
#include "order_parts.hpp"

namespace planner::joint {

namespace {

constexpr std::int64_t kInfinite = std::numeric_limits<std::int64_t>::max();

double cpu_seconds() { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

// Ends of the parts that can be solved one by one: after an operator c that is comparable with all
// others, if while c runs all that is alive is an operand of c, and what is still alive after it
// has come to life by c or had a copy from the start. Every plan is in the same state then: the
// same operators done, everything live resident, the same copies. So the optimum is the sum of the
// optima of the parts.
std::vector<std::int32_t> part_ends(const JointModel& model) {
  const std::vector<char> nothing_absent(index(model.storages()), 0);
  Residency residency(model);
  std::vector<std::int32_t> ends;
  for (const order::Part part : order::split(ordering(model, nothing_absent))) {
    for (std::int32_t v = part.first; v < part.last; ++v) {
      const bool comparable = part.size() == 1;
      bool alone = comparable && residency.shortage(v) != Residency::kNever;
      for (const std::int32_t s : residency.live())
        alone = alone && model.uses[v].contains(s) && model.rounded[index(s)] > 0;
      residency.run(v);
      for (const std::int32_t s : residency.live())
        alone = alone && (model.has_copy[index(s)] || model.starts[v].contains(s));
      if (alone && v + 1 < model.operators) ends.push_back(v + 1);
    }
  }
  ends.push_back(model.operators);
  return ends;
}

// Which part each cut belongs to: that in which alone its members can be absent. Cuts with members
// in several parts are left out, and members that are never absent.
std::vector<std::vector<std::vector<std::int32_t>>> cuts_of_parts(
    const JointModel& model, const std::vector<std::vector<std::int32_t>>& cuts,
    const std::vector<std::int32_t>& ends) {
  const auto part_of = [&](std::int32_t v) {
    return std::upper_bound(ends.begin(), ends.end(), v) - ends.begin();
  };
  std::vector<std::vector<std::vector<std::int32_t>>> result(ends.size());
  for (const std::vector<std::int32_t>& cut : cuts) {
    std::vector<std::int32_t> members;
    std::ptrdiff_t first = static_cast<std::ptrdiff_t>(ends.size());
    std::ptrdiff_t last = -1;
    for (const std::int32_t s : cut) {
      const auto users = model.users[s];
      if (model.rounded[index(s)] == 0 || (users.size() == 1 && !model.kept[index(s)] &&
                                           !model.starters[s].empty()))
        continue;
      members.push_back(s);
      // Absent after its first user at the earliest, or after any if it is there from the start;
      // the operator that ends a part ends it with all of its operands resident.
      const bool given = model.starters[s].empty();
      first = std::min(first, given ? 0 : part_of(std::min(*users.begin() + 1, ends.back() - 1)));
      last = std::max(last, model.kept[index(s)] ? static_cast<std::ptrdiff_t>(ends.size()) - 1
                                                 : part_of(*(users.end() - 1)));
    }
    std::sort(members.begin(), members.end());
    members.erase(std::unique(members.begin(), members.end()), members.end());
    if (first == last) result[static_cast<std::size_t>(first)].push_back(std::move(members));
  }
  for (auto& rows : result) {
    std::sort(rows.begin(), rows.end());
    rows.erase(std::unique(rows.begin(), rows.end()), rows.end());
  }
  return result;
}

}  // namespace

Footprint beyond_capacity(const JointModel& model) {
  Footprint largest;
  largest.bytes = model.capacity;
  for (std::int32_t v = 0; v < model.operators; ++v) {
    std::int64_t bytes = 0;
    std::int64_t gain = 0;
    for (const std::int32_t s : model.uses[v]) {
      bytes += model.rounded[index(s)];
      if (model.in_place[v].contains(s)) gain = std::max(gain, model.rounded[index(s)]);
    }
    if (bytes - gain > largest.bytes) largest = {v, bytes - gain};
  }
  return largest;
}

SearchResult search(const JointModel& model, const std::vector<std::vector<std::int32_t>>& cuts,
                    const SearchOptions& options, Control& control) {
  const double start = cpu_seconds();
  SearchResult result;
  const std::vector<std::int32_t> ends = part_ends(model);
  const auto part_cuts = cuts_of_parts(model, cuts, ends);
  std::vector<std::int64_t> root(ends.size());
  std::int64_t later = 0;  // bound of the parts to come
  for (std::size_t p = 0; p < ends.size(); ++p)
    later += root[p] = Cuts(model, part_cuts[p]).total();
  result.root_bound = std::max(later, options.lower_bound);
  result.bound = std::min(result.root_bound, options.upper);
  result.finished = result.bound >= options.upper;
  std::int64_t before = 0;  // bound of the parts so far
  bool proven = true;       // `before` is their optimum
  bool found = true;        // an order of each
  Residency residency(model);
  SafeChains chains(model, residency);
  Bits done(residency.bits());
  for (std::size_t p = 0; p < ends.size() && !result.finished; ++p) {
    residency.move_to(done);
    later -= root[p];
    const bool is_last = p + 1 == ends.size();
    // Traffic of this part that would make the whole no better than known.
    const std::int64_t upper =
        options.upper == kInfinite ? kInfinite : options.upper - before - later;
    const std::int64_t level = is_last && proven ? options.lower_bound - before : std::int64_t{0};
    JointSearch part(model, residency, chains, ends[p], part_cuts[p], level, upper,
                     options.memory_bytes);
    const JointSearch::Progress progress = part.run(control);
    ++result.parts;
    result.states += part.states();
    result.expanded += part.expanded();
    result.full = result.full || progress == JointSearch::Progress::kLimit;
    const std::optional<std::int64_t> traffic = part.traffic();
    if (progress == JointSearch::Progress::kSolved && !traffic) {
      result.bound = options.upper;
      result.finished = true;
      result.found = false;
      break;
    }
    before += part.bound();
    result.bound = std::max(result.bound, before + later);
    proven = proven && progress == JointSearch::Progress::kSolved;
    found = found && traffic;
    if (found) {
      const std::vector<std::int32_t> order = part.order();
      result.order.insert(result.order.end(), order.begin(), order.end());
      result.traffic += *traffic;
    }
    // Orders of parts that were not proven may add up to more than is known.
    result.found = is_last && found && result.traffic < options.upper;
    result.finished = is_last && proven;
    if (progress == JointSearch::Progress::kStopped) break;
    for (std::int32_t v = p == 0 ? 0 : ends[p - 1]; v < ends[p]; ++v)
      done[index(v) >> 6] |= std::uint64_t{1} << (v & 63);
  }
  if (!result.found) result.order.clear();
  result.bound = std::min(result.bound, options.upper);
  result.cpu_s = cpu_seconds() - start;
  return result;
}

}  // namespace planner::joint
