#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "execute.h"

namespace bitdial {

class Pool;

/** A thread of the pool, as a task sees it. */
struct Worker {
  Pool& pool;
  Scratch scratch;
};

using Task = std::function<void(Worker&)>;

/**
 * Threads with one queue, first in first out. Waking a thread takes longer than many a task, so one that has run out of
 * tasks spins for a short while before it sleeps: where tasks came close together of late, where it was told that one is
 * about to come, and only while nobody else wants its core.
 */
class Pool {
 public:
  explicit Pool(size_t threads);
  ~Pool() { join(); }

  /** A task is about to be submitted: a thread may wake meanwhile. */
  void expect();
  void submit(Task task) { push(std::move(task), false); }
  /** A task that is of use only while its leader works; it counts for nobody as waiting. */
  void submit_help(Task task) { push(std::move(task), true); }
  /** Runs what is queued, then ends the threads. Called on no thread of the pool. */
  void join();
  size_t threads() const { return workers_.size(); }
  /** Tasks that no thread has taken yet, helpers' apart. */
  size_t waiting() const { return waiting_.load(std::memory_order_relaxed); }

 private:
  struct Entry {
    Task task;
    bool help;
  };
  using Clock = std::chrono::steady_clock;
  void push(Task task, bool help);
  void loop(Worker& worker);
  bool take(Entry& next);
  bool may_spin() const;
  void spin(std::unique_lock<std::mutex>& lock);

  std::mutex mutex_;
  std::condition_variable ready_;
  std::deque<Entry> queue_;
  std::atomic<size_t> waiting_{0};
  /** Something is in the queue, or the end has come: what threads that spin look at. */
  std::atomic<bool> called_{false};
  /** The core that tasks come from. */
  std::atomic<int> caller_{-1};
  bool ending_ = false, expected_ = false;
  /** Whether the last task came while others ran or soon after, and since when there is none. */
  bool close_ = false;
  Clock::time_point idle_since_ = Clock::now(), crowded_until_;
  size_t spinning_ = 0, sleeping_ = 0, most_spinning_;
  std::vector<std::unique_ptr<Worker>> workers_;
  std::vector<std::thread> threads_;
};

/**
 * The thread of a task, and idle ones that help it. It never waits for a helper to come: units that nobody else has
 * taken it does itself.
 */
class Helpers : public Team {
 public:
  explicit Helpers(Worker& leader);
  ~Helpers() override;
  size_t size() const override { return size_; }
  void parallel(size_t units, const std::function<void(size_t, Scratch&)>& work) override;

 private:
  struct Shared;
  Worker& leader_;
  size_t size_;
  std::shared_ptr<Shared> shared_;
};

}  // namespace bitdial
