// When a kernel has to stop: its deadline, and the flag by which another thread asks it to.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>

namespace planner {

// Set from any thread; kernels poll it through Control.
class CancelFlag {
 public:
  void set() { requested_.store(true, std::memory_order_relaxed); }
  void clear() { requested_.store(false, std::memory_order_relaxed); }
  bool is_set() const { return requested_.load(std::memory_order_relaxed); }

 private:
  std::atomic<bool> requested_{false};
};

// One per kernel call. stop() is cheap enough for an inner loop: it reads the clock once in
// `kPollInterval` calls, and once it has answered true it keeps doing so. With a limit on these
// calls, where a kernel stops does not depend on the machine.
class Control {
 public:
  static constexpr std::uint64_t kUnlimited = ~std::uint64_t{0};

  Control(double time_limit_s, const CancelFlag* flag, std::uint64_t call_limit = kUnlimited)
      : flag_(flag), start_(Clock::now()), limit_s_(time_limit_s), call_limit_(call_limit) {}

  bool stop() {
    if (stopped_) return true;
    if (++calls_ >= call_limit_) stopped_ = true;
    if (stopped_ || calls_ % kPollInterval != 0) return stopped_;
    return stop_now();
  }

  // As stop(), but looks at once. For loops whose single turn is long.
  bool stop_now() {
    if (stopped_) return true;
    stopped_ = (flag_ != nullptr && flag_->is_set()) || elapsed_s() >= limit_s_;
    return stopped_;
  }

  double elapsed_s() const {
    return std::chrono::duration<double>(Clock::now() - start_).count();
  }

 private:
  using Clock = std::chrono::steady_clock;
  static constexpr std::uint32_t kPollInterval = 64;

  const CancelFlag* flag_;
  Clock::time_point start_;
  double limit_s_;
  std::uint64_t call_limit_;
  std::uint64_t calls_ = 0;
  bool stopped_ = false;
};

}  // namespace planner
