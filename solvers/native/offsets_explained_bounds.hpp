// Lower bounds on offsets, each with the set of placement levels from which it follows.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace planner::offsets {

// Bounds only rise; every change is kept until it is undone, because an older, lower bound that is
// high enough often follows from fewer levels.
template <class Integer>
class ExplainedBounds {
 public:
  using Word = std::uint64_t;  // of a set of levels

  struct Reason {
    const Word* words;
    std::size_t width;
  };

  std::vector<Integer> lowest;  // offset that each buffer may have
  std::vector<char> floating;   // raised past its last support: not to be placed at its bound

  // `start` are the bounds that need no reason.
  void reset(const std::vector<Integer>& start, std::size_t words) {
    const std::size_t buffers = start.size();
    words_ = words;
    lowest = start;
    floating.assign(buffers, 0);
    changes_.clear();
    last_change_.assign(buffers, -1);
    reasons_.assign(buffers * words, 0);
    saved_words_.clear();
  }

  Word* reason_of(std::int32_t buffer) { return &reasons_[index(buffer) * words_]; }

  // The oldest recorded reason why the buffer is at `bound` or above. Words from `width` on are
  // zero in the current reason. Valid until the next change.
  Reason why(std::int32_t buffer, Integer bound, std::size_t width) const {
    if (bound <= 0) return {nullptr, 0};
    Reason reason{&reasons_[index(buffer) * words_], width};
    for (std::int32_t k = last_change_[index(buffer)]; k >= 0; k = changes_[index(k)].previous) {
      const Change& change = changes_[index(k)];
      if (change.lowest < bound) break;
      reason = {&saved_words_[change.begin], change.width};
    }
    return reason;
  }

  static void add(Word* into, Reason reason) {
    for (std::size_t k = 0; k < reason.width; ++k) into[k] |= reason.words[k];
  }

  // Before a change of the buffer's bound or reason by a level within `width` words.
  void save(std::int32_t buffer, std::size_t width) {
    changes_.push_back({buffer, last_change_[index(buffer)], lowest[index(buffer)],
                        floating[index(buffer)], saved_words_.size(), width});
    last_change_[index(buffer)] = static_cast<std::int32_t>(changes_.size() - 1);
    const Word* reason = reason_of(buffer);
    saved_words_.insert(saved_words_.end(), reason, reason + width);
  }

  std::size_t changes() const { return changes_.size(); }

  // Of what is kept in order to be undone or explained.
  std::size_t bytes() const {
    return changes_.size() * sizeof(Change) + saved_words_.size() * sizeof(Word);
  }

  // Back to when there were so many changes.
  void undo(std::size_t changes) {
    while (changes_.size() > changes) {
      const Change& change = changes_.back();
      lowest[index(change.buffer)] = change.lowest;
      floating[index(change.buffer)] = change.floating;
      last_change_[index(change.buffer)] = change.previous;
      std::copy(saved_words_.begin() + static_cast<std::ptrdiff_t>(change.begin),
                saved_words_.end(), reason_of(change.buffer));
      saved_words_.resize(change.begin);
      changes_.pop_back();
    }
  }

 private:
  // A bound as it was before a change.
  struct Change {
    std::int32_t buffer;
    std::int32_t previous;  // index of the change of the same buffer before this one, or -1
    Integer lowest;
    char floating;
    std::size_t begin, width;  // its reason, in saved_words_
  };

  static std::size_t index(std::int32_t i) { return static_cast<std::size_t>(i); }

  std::size_t words_ = 0;  // of a whole set
  std::vector<Change> changes_;
  std::vector<std::int32_t> last_change_;
  std::vector<Word> reasons_, saved_words_;
};

}  // namespace planner::offsets
