// The ordering problem as the kernels see it: operators, and the storages whose liveness depends
// on the order. Sizes add up to at most kMaxTotalBytes, so no sum of sizes overflows.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace planner::order {

constexpr std::int64_t kMaxTotalBytes = std::int64_t{1} << 62;

inline std::size_t index(std::int32_t i) { return static_cast<std::size_t>(i); }

// One row of Rows: operator or storage indices.
struct Span {
  const std::int32_t* first;
  const std::int32_t* last;
  const std::int32_t* begin() const { return first; }
  const std::int32_t* end() const { return last; }
  std::int32_t size() const { return static_cast<std::int32_t>(last - first); }
  bool empty() const { return first == last; }
  bool contains(std::int32_t value) const;
};

// Rows of different lengths, packed.
struct Rows {
  std::vector<std::int64_t> offsets{0};
  std::vector<std::int32_t> values;

  Span operator[](std::int32_t row) const {
    const std::size_t r = index(row);
    return {values.data() + offsets[r], values.data() + offsets[r + 1]};
  }
  std::int32_t count() const { return static_cast<std::int32_t>(offsets.size() - 1); }
  void add_row(const std::vector<std::int32_t>& row);
};

// Row v of the result lists, ascending, the rows of `rows` that contain v.
Rows transposed(const Rows& rows, std::int32_t count);

// Live bytes after the downset D (a set of operators closed under predecessors) are
//   f(D) = base + sum of size[s] over storages s with (a starter in D, or no starters)
//                                               and (kept[s], or a user outside D).
// Starters are users. f is submodular; what an operator adds while it runs: order_downset.hpp.
// Storages that f cannot depend on are left out: empty ones, and those live throughout (in base).
struct OrderModel {
  std::int32_t operators = 0;
  std::int64_t base = 0;
  std::vector<std::int64_t> size;
  std::vector<char> kept;
  Rows starters, users;           // of a storage; ascending
  Rows predecessors, successors;  // of an operator; ascending, predecessors are smaller
  Rows uses, starts;              // of an operator: storages
  Rows in_place;                  // of an operator: storages that it may overwrite; none is kept

  std::int32_t storages() const { return static_cast<std::int32_t>(size.size()); }
};

// f of the empty downset.
std::int64_t live_at_start(const OrderModel& model);

// Collects storages one by one and leaves out those that do not matter.
class ModelBuilder {
 public:
  explicit ModelBuilder(std::int32_t operators) { model_.operators = operators; }

  void add_base(std::int64_t bytes) { model_.base += bytes; }
  // Rows ascending, without duplicates. Returns the storage's index in the model, or -1.
  std::int32_t add_storage(std::int64_t bytes, bool kept, const std::vector<std::int32_t>& starters,
                           const std::vector<std::int32_t>& users);
  // Once per operator in ascending order, after all storages; `in_place` holds model indices or -1.
  void add_operator(const std::vector<std::int32_t>& predecessors,
                    const std::vector<std::int32_t>& in_place);
  OrderModel finish();

 private:
  OrderModel model_;
};

struct RaggedView {
  const std::int64_t* offsets;
  std::size_t offsets_size;
  const std::int32_t* values;
  std::size_t values_size;
};

// planner.problem.OrderProblem, array by array.
struct OrderArrays {
  std::int64_t operators;
  const std::int64_t* size;
  std::size_t size_size;
  RaggedView predecessors, starters, users;
  const bool* kept;
  std::size_t kept_size;
  RaggedView in_place;
};

// Checks every index and size. Returns what is wrong, or nothing after filling `model`.
std::optional<std::string> build_model(const OrderArrays& arrays, OrderModel& model);

// Returns what is wrong with rows of values in [0, value_limit), if anything.
std::optional<std::string> check_ragged(const RaggedView& rows, const std::string& name,
                                        std::int64_t row_count, std::int64_t value_limit);

// Row `row`, ascending and without duplicates.
void read_row(const RaggedView& rows, std::int64_t row, std::vector<std::int32_t>& out);

}  // namespace planner::order
