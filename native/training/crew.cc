#include "crew.h"

#include <chrono>
#include <system_error>
#include <utility>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace bitdial::training {
namespace {

/** How long a helper looks out for the next piece of work before it sleeps. */
constexpr std::chrono::microseconds kSpin{50};

inline void relax() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace

Crew::Crew(size_t threads) : scratch_(threads) {
  threads_.reserve(threads);
  try {
    for (size_t i = 1; i < threads; i++) threads_.emplace_back([this, i] { loop(scratch_[i]); });
  } catch (const std::system_error&) {
    // The system gives no more threads: those that are there do the work.
  }
}

Crew::~Crew() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    ending_.store(true);
  }
  ready_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

/** Does one unit if there is one. The caller waits for a unit that is out, so `work_` stays what it is. */
bool Crew::step(Memory& scratch) {
  size_t unit = 0;
  if (!take_unit(word_, unit)) return false;
  try {
    (*work_)(unit, scratch);
  } catch (...) {
    const std::lock_guard<std::mutex> lock(mutex_);
    error_ = std::current_exception();
  }
  done_.fetch_add(1, std::memory_order_acq_rel);
  return true;
}

void Crew::run(size_t units, const Work& work) {
  if (threads_.empty() || units <= 1 || units > kMostUnits) {
    for (size_t i = 0; i < units; i++) work(i, scratch_[0]);
    return;
  }
  work_ = &work;
  done_.store(0, std::memory_order_relaxed);
  word_.store(piece_of_work(word_, units));
  if (sleeping_.load() > 0) {
    { const std::lock_guard<std::mutex> lock(mutex_); }
    ready_.notify_all();
  }
  while (step(scratch_[0])) {
  }
  for (size_t rounds = 0; done_.load(std::memory_order_acquire) < units; rounds++) {
    if (rounds < 4000) relax();
    else std::this_thread::yield();
  }
  if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
}

/** Since a helper saw that epoch there is another, or the end has come. */
bool Crew::called(uint64_t seen) const { return ending_.load() || word_.load() >> 40 != seen; }

void Crew::loop(Memory& scratch) {
  for (uint64_t seen = 0; !ending_.load();) {
    const auto end = std::chrono::steady_clock::now() + kSpin;
    while (!called(seen) && std::chrono::steady_clock::now() < end) {
      for (int i = 0; i < 32 && !called(seen); i++) relax();
    }
    if (!called(seen)) {
      std::unique_lock<std::mutex> lock(mutex_);
      sleeping_++;
      ready_.wait(lock, [&] { return called(seen); });
      sleeping_--;
    }
    seen = word_.load() >> 40;
    while (step(scratch)) {
    }
  }
}

}  // namespace bitdial::training
