#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "../memory.h"
#include "../units.h"

namespace bitdial::training {

/**
 * The calling thread and helpers that do the units of one piece of work, which it waits for. Unlike the engine's pool it has
 * no queue: a training step calls one kernel after the other, so between two of them helpers spin for a moment, then sleep.
 */
class Crew {
 public:
  explicit Crew(size_t threads);
  ~Crew();
  size_t size() const { return threads_.size() + 1; }

  /** work(unit, scratch of the thread) for every unit below `units`; returns when all are done. */
  using Work = std::function<void(size_t, Memory&)>;
  void run(size_t units, const Work& work);

 private:
  bool step(Memory& scratch);
  void loop(Memory& scratch);
  bool called(uint64_t seen) const;

  /** See units.h. */
  std::atomic<uint64_t> word_{0};
  std::atomic<size_t> done_{0}, sleeping_{0};
  std::atomic<bool> ending_{false};
  const Work* work_ = nullptr;
  std::mutex mutex_;
  std::condition_variable ready_;
  std::exception_ptr error_;
  std::vector<Memory> scratch_;
  std::vector<std::thread> threads_;
};

}  // namespace bitdial::training
