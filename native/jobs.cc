#include "jobs.h"

#include <algorithm>
#include <optional>

#include "mapped_file.h"

namespace bitdial {
namespace {

/** Bytes of the buffers of images that run together, at most (but one image always runs). */
constexpr size_t kChunkBytes = size_t{16} << 20;
/** Multiply-accumulates from which one task asks for helpers. */
constexpr double kTeamWork = 2e6;

/** Images of each chunk, where so many are to be run: every chunk reads all weights, so few, and equal but for the last. */
size_t images_together(const Plan& plan, size_t count) {
  const size_t most = std::clamp<size_t>(kChunkBytes / std::max<size_t>(plan.image_bytes, 1), 1, kChunk);
  const size_t chunks = (count + most - 1) / most;
  return (count + chunks - 1) / chunks;
}

std::vector<Source> resolve(const BuildJob& job, std::optional<MappedFile>& file) {
  if (!job.path.empty()) file.emplace(job.path);
  std::vector<Source> sources;
  for (const SourceSpec& spec : job.specs) {
    if (spec.data || spec.length == 0) {
      sources.push_back({spec.data, spec.length});
      continue;
    }
    if (!file || spec.byte_offset % 4 != 0 || spec.byte_offset > file->size() ||
        spec.length > (file->size() - spec.byte_offset) / 4) {
      throw PlanError("weights file: expected " + std::to_string(spec.byte_offset + 4 * spec.length) +
                      " bytes at least, got " + std::to_string(file ? file->size() : 0));
    }
    sources.push_back({reinterpret_cast<const float*>(file->data() + spec.byte_offset), spec.length});
  }
  return sources;
}

void build(BuildJob& job, Worker& worker) {
  std::optional<MappedFile> file;
  const std::vector<Source> sources = resolve(job, file);
  auto plan = std::make_shared<Plan>();
  load_plan(job.words.data(), job.words.size(), sources, *plan);
  const std::vector<QuantizeUnit> units = quantize_units(*plan);
  std::vector<UnitForms> forms(units.size());
  Helpers team(worker);
  team.parallel(units.size(), [&](size_t i, Scratch& scratch) {
    forms[i] = quantize(*plan, *job.kernels, sources, units[i], scratch);
  });
  for (size_t i = 0; i < units.size(); i++) {
    Linear& l = plan->ops[units[i].op].linear;
    if (l.winograd == WinogradUse::never) continue;
    for (size_t b = 0, first = units[i].first_row / kLanes; b < kUnitBlocks && first + b < l.full_blocks; b++) {
      l.winograd_blocks.push_back(forms[i][b]);
    }
  }
  for (Op& op : plan->ops) {
    Linear& l = op.linear;
    const bool some = std::any_of(l.winograd_blocks.begin(), l.winograd_blocks.end(),
                                  [](WinogradForms forms) { return forms != WinogradForms{}; });
    l.winograd = some ? job.winograd : WinogradUse::never;
  }
  job.plan = std::move(plan);
}

void run_part(RunJob& job, Worker& worker, size_t first, size_t count, bool alone) {
  const Plan& plan = *job.plan;
  std::optional<Helpers> helpers;
  Solo solo(worker.scratch);
  Team* team = &solo;
  if (alone && worker.pool.threads() > 1 && plan.macs * static_cast<double>(count) >= kTeamWork) {
    team = &helpers.emplace(worker);
  }
  const size_t chunk = images_together(plan, count);
  const size_t in = plan.tensors[plan.input].elements, out = plan.tensors[plan.output].elements;
  for (size_t n = first; n < first + count; n += chunk) {
    const size_t images = std::min(chunk, first + count - n);
    execute(plan, *job.kernels, job.input.data() + n * in, images, job.logits.get() + n * out, worker.scratch, *team);
  }
}

}  // namespace

void submit_build(Pool& pool, BuildJob* job) {
  job->submitted = Clock::now();
  pool.submit([job](Worker& worker) {
    job->started = Clock::now();
    try {
      build(*job, worker);
    } catch (const LayerError& e) {
      job->error = e.what();
      job->error_op = static_cast<int>(e.op);
    } catch (const std::exception& e) {
      job->error = e.what();
    }
    job->ended = Clock::now();
    job->finish(job);
  });
}

void submit_run(Pool& pool, RunJob* job) {
  job->submitted = Clock::now();
  const size_t threads = pool.threads();
  job->each = std::min(images_together(*job->plan, job->batch), (job->batch + threads - 1) / threads);
  const size_t parts = (job->batch + job->each - 1) / job->each;
  job->parts = job->left = parts;
  // The job may be over, and gone, as soon as its last part is submitted.
  for (size_t i = 0; i < parts; i++) {
    pool.submit([job, i](Worker& worker) {
      if (!job->begun.exchange(true)) job->started = Clock::now();
      try {
        const size_t first = i * job->each;
        run_part(*job, worker, first, std::min(job->each, job->batch - first), job->parts == 1);
      } catch (const std::exception& e) {
        const std::lock_guard<std::mutex> lock(job->mutex);
        job->error = e.what();
      }
      if (job->left.fetch_sub(1, std::memory_order_acq_rel) > 1) return;
      job->ended = Clock::now();
      job->finish(job);
    });
  }
}

}  // namespace bitdial
