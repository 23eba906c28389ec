#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "pool.h"
#include "quantize.h"

namespace bitdial {

using Clock = std::chrono::steady_clock;

/** Floats of a build: memory of the caller, or a stretch of the file. */
struct SourceSpec {
  const float* data;
  size_t byte_offset, length;
};

/** Work for the pool; `finish` is called once, on whatever thread ended it. */
struct Job {
  virtual ~Job() = default;
  std::function<void(Job*)> finish;
  /** What went wrong; empty where nothing did. */
  std::string error;
  /** The op that it went wrong in, or -1. */
  int error_op = -1;
  Clock::time_point submitted, started, ended;
};

struct BuildJob : Job {
  const Kernels* kernels;
  WinogradUse winograd;
  std::vector<double> words;
  std::vector<SourceSpec> specs;
  std::string path;
  std::shared_ptr<Plan> plan;
};

struct RunJob : Job {
  const Kernels* kernels;
  std::shared_ptr<const Plan> plan;
  std::vector<float> input, logits;
  size_t batch = 0;
  /** Images of a part, and how many parts there are and are left. */
  size_t each = 0, parts = 0;
  std::atomic<size_t> left{0};
  std::atomic<bool> begun{false};
  std::mutex mutex;
};

void submit_build(Pool& pool, BuildJob* job);
void submit_run(Pool& pool, RunJob* job);

}  // namespace bitdial
