// Traffic of a given order by capacity alone: what leaves when, by rules of thumb.
#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <vector>

#include "joint_model.hpp"
#include "order_heuristics.hpp"

namespace planner::joint {

using order::Order;

// Whether the order holds every operator once, each after its predecessors.
bool is_topological(const JointModel& model, const Order& order);

// Whether the operands of each operator fit by themselves. If not, no order fits.
bool operands_fit(const JointModel& model);

constexpr std::int64_t kDoesNotFit = std::numeric_limits<std::int64_t>::max();

// Decides what leaves where bytes are missing.
enum class EvictionRule {
  kFurthestUse,    // the furthest next use (Belady, 1966)
  kCopiesFirst,    // what needs no write, of those the furthest next use
  kSmallestCover,  // the cheapest that suffices alone, else the largest
  kFewestUses,     // the fewest uses to come
  kLeastPrice,     // least traffic per missing byte made up for, over all steps to come
};

// One per thread: holds the working memory of one order after the other.
//
// Where everything stays resident some steps need more than the capacity. A gap is the time between
// two uses of a storage; to drop a gap frees the storage's bytes in all steps of the gap and costs
// a read, and a write if it is the first of its storage. The steps are passed in order and each is
// relieved by gaps around it, as the rule says; gaps that later ones make superfluous are kept
// again. As a simulation of the rule, but that a storage is gone since its last use.
class OrderTraffic {
 public:
  explicit OrderTraffic(const JointModel& model);

  // Traffic of the best rule after dropping and keeping gaps in turn as long as that pays, mostly
  // the optimum of the order; kDoesNotFit if the operands of some step exceed the capacity. What is
  // not below `cut` may be returned as any value that is not below it. `order` is topological.
  std::int64_t improved(const Order& order, std::int64_t cut);

  // Of one rule, for tests and ablation.
  std::int64_t by_rule(const Order& order, EvictionRule rule);

  // Steps of the uses around each dropped gap, as of the last improved() that was below its cut.
  struct Absence {
    std::int32_t before, after;
  };
  const std::vector<Absence>& absences();

 private:
  struct Gap {
    std::int32_t storage;
    std::int32_t before, after;  // steps of the two uses
    std::int32_t first, last;    // overfull steps inside: [first, last)
    std::int32_t uses_before;
    std::int64_t bytes, price;
  };

  bool find_gaps(const Order& order);
  std::int64_t cover(EvictionRule rule, std::int64_t cut);
  std::int64_t best_cover(std::int64_t cut);
  std::int64_t relieve(EvictionRule rule, std::int32_t step);
  std::int64_t price(const Gap& gap) const;
  std::int64_t relief(const Gap& gap, std::int32_t from) const;
  void drop(std::int32_t gap);
  void keep(std::int32_t gap);
  bool is_superfluous(const Gap& gap) const;
  std::int64_t keep_superfluous();
  void restore(const std::vector<char>& dropped);
  std::int64_t refill(std::int32_t without, std::int64_t cut);
  std::int64_t exchange(std::int64_t traffic);

  const JointModel& model_;
  std::array<EvictionRule, 5> rules_;  // the one that won last time first

  std::vector<std::int32_t> from_start_, kept_;  // storages with bytes

  // Of storages.
  std::vector<std::int32_t> last_use_, uses_seen_, writers_seen_;
  std::vector<std::int32_t> dropped_of_;  // number of dropped gaps
  // Of steps, then of overfull steps.
  std::vector<std::int64_t> excess_;
  std::vector<std::int32_t> overfull_before_;
  std::vector<std::int64_t> gain_;
  std::vector<std::int64_t> missing_at_, missing_;
  std::int64_t coverage_ = 0;  // overfull steps inside gaps, over all gaps

  std::vector<Gap> gaps_, found_;
  std::vector<std::int32_t> begin_;  // gaps_ with first == k are begin_[k] .. begin_[k + 1]
  std::vector<char> dropped_, best_dropped_;
  std::vector<Absence> absences_;
  std::vector<std::int32_t> active_, chosen_, order_of_price_;
  // Gaps around each overfull step.
  std::vector<std::int64_t> around_begin_, around_end_;
  std::vector<std::int32_t> around_;
};

}  // namespace planner::joint
