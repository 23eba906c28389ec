#include "pool.h"

#include <algorithm>
#include <utility>

#if defined(__x86_64__)
#include <immintrin.h>
#endif
#if defined(__linux__)
#include <sched.h>
#include <unistd.h>
#endif

#include "units.h"

namespace bitdial {
namespace {

inline void relax() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

/** Looks again and again for a while, then lets other threads run in between. */
class Spin {
 public:
  void wait() {
    if (++rounds_ < 4000) relax();
    else std::this_thread::yield();
  }
  void reset() { rounds_ = 0; }

 private:
  int rounds_ = 0;
};

/** How long an idle thread spins; for how long none does after others were seen to want its core. */
constexpr std::chrono::microseconds kSpin{200}, kCrowded{50'000};

/** Of the calling thread; -1 where the system does not tell. */
int current_core() {
#if defined(__linux__)
  return sched_getcpu();
#else
  return -1;
#endif
}

/**
 * Of the pool's threads beside the process: where all cores compute, who submits still gets one when it wants it, so that
 * requests are taken, refused and answered meanwhile. Training adds more (src/priority.ts).
 */
constexpr int kNiceness = 4;

/** On Linux niceness belongs to the thread; elsewhere it would slow the whole process. */
void give_way() {
#if defined(__linux__)
  // Not allowed here: it works at the process's own priority, then.
  if (nice(kNiceness) == -1) return;
#endif
}

}  // namespace

Pool::Pool(size_t threads) {
  // One core is for whoever submits.
  most_spinning_ = std::max(std::thread::hardware_concurrency(), 1u) - 1;
  for (size_t i = 0; i < threads; i++) workers_.push_back(std::unique_ptr<Worker>(new Worker{*this, {}}));
  for (auto& worker : workers_) threads_.emplace_back([this, w = worker.get()] { loop(*w); });
}

void Pool::expect() {
  caller_.store(current_core(), std::memory_order_relaxed);
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (expected_ || spinning_ > 0 || sleeping_ < workers_.size() || !may_spin()) return;
    expected_ = true;
  }
  ready_.notify_one();
}

void Pool::push(Task task, bool help) {
  bool wake;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    queue_.push_back({std::move(task), help});
    called_.store(true, std::memory_order_relaxed);
    if (!help) {
      waiting_.fetch_add(1, std::memory_order_relaxed);
      close_ = spinning_ + sleeping_ < workers_.size() || Clock::now() - idle_since_ < kSpin;
    }
    wake = sleeping_ > 0 && queue_.size() > spinning_ + expected_;
  }
  if (wake) ready_.notify_one();
}

void Pool::join() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    ending_ = true;
    called_.store(true, std::memory_order_relaxed);
  }
  ready_.notify_all();
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

bool Pool::may_spin() const { return spinning_ < most_spinning_ && Clock::now() > crowded_until_; }

/** Until there is a task, or the time is over, or this core is the one that tasks come from. */
void Pool::spin(std::unique_lock<std::mutex>& lock) {
  spinning_++;
  lock.unlock();
  Clock::time_point now = Clock::now();
  const Clock::time_point end = now + kSpin;
  bool crowded = false;
  while (!called_.load(std::memory_order_relaxed) && now < end && !crowded) {
    for (int i = 0; i < 32 && !called_.load(std::memory_order_relaxed); i++) relax();
    now = Clock::now();
    const int core = current_core();
    crowded = now > end + kSpin || (core >= 0 && core == caller_.load(std::memory_order_relaxed));
  }
  lock.lock();
  spinning_--;
  if (crowded) crowded_until_ = now + kCrowded;
}

/** The next task; false at the end. */
bool Pool::take(Entry& next) {
  std::unique_lock<std::mutex> lock(mutex_);
  if (queue_.empty()) idle_since_ = Clock::now();
  if (queue_.empty() && !ending_ && close_ && may_spin()) spin(lock);
  while (queue_.empty() && !ending_) {
    sleeping_++;
    ready_.wait(lock, [this] { return ending_ || expected_ || !queue_.empty(); });
    sleeping_--;
    if (!expected_) continue;
    expected_ = false;
    if (queue_.empty() && !ending_) spin(lock);
  }
  if (queue_.empty()) return false;
  next = std::move(queue_.front());
  queue_.pop_front();
  called_.store(ending_ || !queue_.empty(), std::memory_order_relaxed);
  if (!next.help) waiting_.fetch_sub(1, std::memory_order_relaxed);
  return true;
}

void Pool::loop(Worker& worker) {
  give_way();
  for (Entry next; take(next); next.task = nullptr) {
    next.task(worker);
    worker.scratch.trim();
  }
}

/**
 * One word says which units are to be had: epoch, how many units, the next one. Whoever moves the word on by one has
 * that unit, and the leader waits for it, so `work` stays what it is while a unit is out.
 *
 *     word: epoch (24 bits) | units (20) | next (20)
 */
struct Helpers::Shared {
  std::atomic<uint64_t> word{0};
  std::atomic<size_t> done{0};
  std::atomic<bool> finished{false};
  const std::function<void(size_t, Scratch&)>* work = nullptr;
  std::mutex mutex;
  std::exception_ptr error;

  /** Does one unit if there is one. */
  bool step(Scratch& scratch) {
    size_t unit = 0;
    if (!take_unit(word, unit)) return false;
    try {
      (*work)(unit, scratch);
    } catch (...) {
      const std::lock_guard<std::mutex> lock(mutex);
      error = std::current_exception();
    }
    done.fetch_add(1, std::memory_order_acq_rel);
    return true;
  }
};

Helpers::Helpers(Worker& leader) : leader_(leader), size_(1), shared_(std::make_shared<Shared>()) {
  Pool& pool = leader.pool;
  if (pool.waiting() > 0) return;
  size_ = pool.threads();
  for (size_t i = 1; i < size_; i++) {
    pool.submit_help([shared = shared_](Worker& worker) {
      Spin spin;
      while (!shared->finished.load(std::memory_order_acquire)) {
        if (shared->step(worker.scratch)) spin.reset();
        else if (worker.pool.waiting() > 0) return;
        else spin.wait();
      }
    });
  }
}

Helpers::~Helpers() { shared_->finished.store(true, std::memory_order_release); }

void Helpers::parallel(size_t units, const std::function<void(size_t, Scratch&)>& work) {
  if (size_ == 1 || units == 1 || units > kMostUnits) {
    for (size_t i = 0; i < units; i++) work(i, leader_.scratch);
    return;
  }
  Shared& s = *shared_;
  s.work = &work;
  s.done.store(0, std::memory_order_relaxed);
  s.word.store(piece_of_work(s.word, units), std::memory_order_release);
  while (s.step(leader_.scratch)) {
  }
  Spin spin;
  while (s.done.load(std::memory_order_acquire) < units) spin.wait();
  if (s.error) std::rethrow_exception(std::exchange(s.error, nullptr));
}

}  // namespace bitdial
