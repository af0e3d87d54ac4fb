#include "spill_oracle.hpp"

#include <algorithm>
#include <numeric>
#include <utility>

#include "order_bound.hpp"
#include "order_search.hpp"
#include "order_shrink.hpp"

namespace planner::joint {

namespace {

// A search that has not ended by now asks the cuts, which may prove what it cannot.
constexpr std::int64_t kFirstExpansions = 400;
constexpr std::int64_t kCutWork = 4'000'000;

order::Order numbering(order::Part part) {
  order::Order order(index(part.size()));
  std::iota(order.begin(), order.end(), part.first);
  return order;
}

bool includes(const std::vector<std::uint64_t>& all, const std::vector<std::uint64_t>& some) {
  for (std::size_t word = 0; word < all.size(); ++word)
    if ((some[word] & ~all[word]) != 0) return false;
  return true;
}

}  // namespace

SetOracle::SetOracle(const JointModel& model, std::int64_t memory_bytes)
    : model_(model), memory_bytes_(memory_bytes) {
  const order::OrderModel ordered =
      ordering(model, std::vector<char>(index(model.storages()), 0));
  for (const order::Part part : order::split(ordered)) {
    if (part.size() == 1) {
      fixed_.push_back(part.first);
      continue;
    }
    PartState state{part, {}, {}};
    for (std::int32_t s = 0; s < model.storages(); ++s) {
      if (model.rounded[index(s)] == 0) continue;
      const bool begun = model.starters[s].empty() || *model.starters[s].begin() < part.last;
      const bool wanted = model.kept[index(s)] || *(model.users[s].end() - 1) >= part.first;
      if (begun && wanted) state.storages.push_back(s);
    }
    parts_.push_back(std::move(state));
  }
}

Answer SetOracle::decide(const std::vector<char>& absent, std::int64_t level,
                         std::int64_t expansions, Control& control) {
  const order::OrderModel ordered = ordering(model_, absent);
  if (order::live_at_start(ordered) > level) return Answer::kInfeasible;
  const order::Order by_number = numbering({0, model_.operators});
  const std::vector<std::int64_t> transients = order::transients(ordered, by_number);
  const auto fits = [&](std::int32_t v) { return transients[index(v)] <= level; };
  if (!std::all_of(fixed_.begin(), fixed_.end(), fits)) return Answer::kInfeasible;
  order_ = by_number;
  Answer answer = Answer::kFeasible;
  for (std::size_t i = 0; i < parts_.size(); ++i) {
    const order::Part part = parts_[i].part;
    if (std::all_of(by_number.begin() + part.first, by_number.begin() + part.last, fits)) continue;
    const Known& known = decide_part(parts_[i], ordered, absent, level, expansions, control);
    if (known.answer == Answer::kFeasible) {
      std::copy(known.order.begin(), known.order.end(), order_.begin() + part.first);
    } else if (known.answer == Answer::kLimit) {
      answer = Answer::kLimit;
    } else {
      std::rotate(parts_.begin(), parts_.begin() + static_cast<std::ptrdiff_t>(i),
                  parts_.begin() + static_cast<std::ptrdiff_t>(i) + 1);
      return Answer::kInfeasible;
    }
  }
  return answer;
}

const SetOracle::Known& SetOracle::decide_part(PartState& state, const order::OrderModel& model,
                                               const std::vector<char>& absent,
                                               std::int64_t level, std::int64_t expansions,
                                               Control& control) {
  std::vector<std::uint64_t> bits((state.storages.size() + 63) / 64, 0);
  for (std::size_t i = 0; i < state.storages.size(); ++i)
    if (absent[index(state.storages[i])]) bits[i / 64] |= std::uint64_t{1} << (i % 64);
  Known* same = nullptr;
  for (Known& known : state.known) {
    if (known.answer == Answer::kLimit) {
      if (known.level != level || known.absent != bits) continue;
      if (known.expansions >= expansions) return known;
      same = &known;
    } else if (known.answer == Answer::kFeasible
                   ? known.level <= level && includes(bits, known.absent)
                   : known.level >= level && includes(known.absent, bits)) {
      return known;
    }
  }
  Known found{std::move(bits), level, Answer::kLimit, expansions, {}};
  search_part(state.part, model, expansions, control, found);
  // What was cut short by the clock is no result of this many expansions.
  if (found.answer == Answer::kLimit && control.stop_now()) found.expansions = 0;
  if (same != nullptr) {
    *same = std::move(found);
    return *same;
  }
  state.known.push_back(std::move(found));
  return state.known.back();
}

void SetOracle::search_part(order::Part part, const order::OrderModel& model,
                            std::int64_t expansions, Control& control, Known& known) {
  ++searches_;
  const std::int64_t level = known.level;
  const order::OrderModel part_model = order::PartModels(model).of(part, numbering(part));
  // Operators whose place at either end is settled at this level do not take part.
  const order::Settled settled = order::settled_operators(part_model, level, control);
  std::vector<char> is_settled(index(part.size()), 0);
  for (const auto* ends : {&settled.prefix, &settled.suffix})
    for (const std::int32_t i : *ends) is_settled[index(i)] = 1;
  order::Order order = settled.prefix;
  for (std::int32_t i = 0; i < part.size(); ++i)
    if (!is_settled[index(i)]) order.push_back(i);
  order.insert(order.end(), settled.suffix.begin(), settled.suffix.end());
  const order::Part middle{static_cast<std::int32_t>(settled.prefix.size()),
                           part.size() - static_cast<std::int32_t>(settled.suffix.size())};
  if (middle.size() > 0) {
    const order::OrderModel settled_model =
        order::PartModels(part_model).of({0, part.size()}, order);
    const order::OrderModel open =
        order::PartModels(settled_model).of(middle, numbering(middle));
    order::OrderSearch search(open, level, level + 1, {}, memory_bytes_);
    auto progress = search.run(std::min(expansions, kFirstExpansions), control);
    if (progress == order::OrderSearch::Progress::kLimit && !search.full() &&
        expansions > kFirstExpansions) {
      std::int64_t work = kCutWork;
      const auto bound = order::cut_bound(
          open, order::transients(open, numbering({0, open.operators})), level, work, control);
      if (bound.bound > level) {
        states_ += search.states();
        expanded_ += search.expanded();
        known.answer = Answer::kInfeasible;
        return;
      }
      progress = search.run(expansions - kFirstExpansions, control);
    }
    states_ += search.states();
    expanded_ += search.expanded();
    if (progress != order::OrderSearch::Progress::kSolved) return;
    const auto found = search.order();
    if (!found) {
      known.answer = Answer::kInfeasible;
      return;
    }
    const order::Order before = order;
    for (std::size_t i = 0; i < found->size(); ++i)
      order[index(middle.first) + i] = before[index(middle.first + (*found)[i])];
  }
  known.answer = Answer::kFeasible;
  for (const std::int32_t i : order) known.order.push_back(part.first + i);
}

}  // namespace planner::joint
