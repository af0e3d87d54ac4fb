// Mapping as a game in program order, one decision per access: our reading of the paper, arXiv
// 2305.07440, on our costs.
#pragma once

#include <cstdint>
#include <vector>

#include "mapping_game.hpp"

namespace planner::mapping {

// Actions of an access:
//
// Copy: served fast, and the copy between the memories goes with it: into the fast memory before
//   a read, a write-back after a write that others follow. A write that is not the first access of
//   its buffer finds the old contents where NoCopy would, or else copies them too.
// NoCopy: served fast without a copy. A read or later write finds the buffer where its last access
//   left it, if its bytes have not been taken since; a first write that nobody writes back has to
//   be found so by the next access.
// Drop: served slow, where the slow memory's copy is valid.
//
// Bytes are held for no longer than the access or the write-back, so a buffer whose only copy is
// in the fast memory may lose them: then its next access has no legal action, a dead end. Drop
// backup: the game goes back to the first access of that buffer that was served fast, which is
// dropped for good, and is played on from there. All its accesses before were served slow, so
// that is legal. Each backup drops an access for good that was not, so there are at most as many
// backups as accesses.
class PaperGame : public Board {
 public:
  static constexpr std::int32_t kCopy = 0;
  static constexpr std::int32_t kNoCopy = 1;
  static constexpr std::int32_t kDrop = 2;

  PaperGame(const GameProgram& program, std::int32_t window);

  bool done() const { return access_ >= static_cast<std::int32_t>(model().accesses.size()); }
  std::uint32_t legal() const { return legal_; }
  // Returns the ticks that the program gets shorter by; a backup makes it longer again.
  Ticks play(std::int32_t action);
  Decision decision() const;
  std::int64_t backups() const { return backups_; }

 private:
  void look();
  void act(std::int32_t action);
  void advance();
  void back_up();

  std::int32_t access_ = 0;
  std::uint32_t legal_ = 0;
  bool found_ = false;                // where the last access left it
  std::int32_t start_ = -1;           // of a copy into the fast memory
  std::int32_t write_back_end_ = -1;
  std::int64_t offset_ = -1;          // for a residency that begins here
  std::int64_t backups_ = 0;
  std::vector<std::int8_t> played_;   // action of each access so far
  std::vector<char> dropped_;         // accesses that backups have dropped for good
};

}  // namespace planner::mapping
