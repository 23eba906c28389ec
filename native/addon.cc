#include <napi.h>

#include <algorithm>
#include <map>

#include "jobs.h"
#include "returns.h"
#include "selection.h"
#include "training/trainer.h"

namespace bitdial {
namespace {

double milliseconds(Clock::duration d) { return std::chrono::duration<double, std::milli>(d).count(); }

/**
 * The pool, its plans and its jobs. All methods run on the thread of JavaScript, and jobs come back there.
 */
class Engine : public Napi::ObjectWrap<Engine> {
 public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "Engine",
                       {InstanceMethod<&Engine::build>("build"), InstanceMethod<&Engine::run>("run"),
                        InstanceMethod<&Engine::release>("release"), InstanceMethod<&Engine::inspect_op>("inspect"),
                        InstanceMethod<&Engine::idle>("idle"), InstanceMethod<&Engine::close>("close"), InstanceAccessor<&Engine::isa>("isa"),
                        InstanceAccessor<&Engine::threads>("threads")});
  }

  explicit Engine(const Napi::CallbackInfo& info) : Napi::ObjectWrap<Engine>(info) {
    const Napi::Env env = info.Env();
    const double threads = info[0].As<Napi::Number>().DoubleValue();
    const std::string isa = info[1].IsString() ? info[1].As<Napi::String>().Utf8Value() : "";
    kernels_ = find_kernels(isa);
    if (!kernels_) throw Napi::RangeError::New(env, "isa: expected one of isas(), got " + isa);
    const std::string winograd = info[2].IsString() ? info[2].As<Napi::String>().Utf8Value() : "";
    if (winograd == "never") winograd_ = WinogradUse::never;
    else if (winograd == "always") winograd_ = WinogradUse::always;
    else if (winograd == "always-large") winograd_ = WinogradUse::always_large;
    if (!(threads >= 1 && threads <= 1024)) throw Napi::RangeError::New(env, "threads: expected 1 to 1024");
    returns_.open(env);
    pool_ = std::make_unique<Pool>(static_cast<size_t>(threads));
    env_ = env;
    napi_add_env_cleanup_hook(env_, cleanup, this);
  }

  ~Engine() override { stop(); }

 private:
  using Waiting = Returns<Engine>::Waiting;

  Napi::Value isa(const Napi::CallbackInfo& info) { return Napi::String::New(info.Env(), kernels_->name); }
  Napi::Value threads(const Napi::CallbackInfo& info) {
    return Napi::Number::New(info.Env(), pool_ ? static_cast<double>(pool_->threads()) : 0);
  }

  void check_open(Napi::Env env) const {
    if (!pool_) throw Napi::Error::New(env, "the engine is closed");
  }

  const std::shared_ptr<Plan>& plan_of(const Napi::CallbackInfo& info) const {
    const auto found = info[0].IsNumber() ? plans_.find(info[0].As<Napi::Number>().Uint32Value()) : plans_.end();
    if (found == plans_.end()) throw Napi::Error::New(info.Env(), "the variant was released");
    return found->second;
  }

  /** build(words: Float64Array, sources: (Float32Array | [byteOffset, length])[], path: string) */
  Napi::Value build(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    check_open(env);
    if (!info[0].IsTypedArray() || info[0].As<Napi::TypedArray>().TypedArrayType() != napi_float64_array ||
        !info[1].IsArray() || !info[2].IsString()) {
      throw Napi::TypeError::New(env, "build: expected a Float64Array, an array and a string");
    }
    auto waiting = returns_.prepare<BuildJob>();
    auto* job = static_cast<BuildJob*>(waiting->job.get());
    job->kernels = kernels_;
    job->winograd = winograd_;
    const auto words = info[0].As<Napi::Float64Array>();
    job->words.assign(words.Data(), words.Data() + words.ElementLength());
    job->path = info[2].As<Napi::String>().Utf8Value();
    const auto sources = info[1].As<Napi::Array>();
    for (uint32_t i = 0; i < sources.Length(); i++) {
      const Napi::HandleScope scope(env);
      const Napi::Value value = sources.Get(i);
      if (value.IsTypedArray() && value.As<Napi::TypedArray>().TypedArrayType() == napi_float32_array) {
        const auto floats = value.As<Napi::Float32Array>();
        job->specs.push_back({floats.Data(), 0, floats.ElementLength()});
        waiting->sources.push_back(Napi::Reference<Napi::Value>::New(floats.ArrayBuffer(), 1));
      } else if (value.IsArray()) {
        const auto pair = value.As<Napi::Array>();
        const double offset = pair.Get(0u).ToNumber().DoubleValue(), length = pair.Get(1u).ToNumber().DoubleValue();
        if (!(offset >= 0 && offset < 1e15 && length >= 0 && length < 1e15)) {
          throw Napi::RangeError::New(env, "build: expected an offset and a length in the file");
        }
        job->specs.push_back({nullptr, static_cast<size_t>(offset), static_cast<size_t>(length)});
      } else {
        throw Napi::TypeError::New(env, "build: expected floats or a stretch of the file as a source");
      }
    }
    submit_build(*pool_, job);
    return returns_.expect(env, *waiting.release(), &Engine::settle_build);
  }

  /**
   * run(plan: number, input: Float32Array, batch: number)
   *
   * What is not needed for the job to begin is done while it runs.
   */
  Napi::Value run(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    check_open(env);
    pool_->expect();
    const std::shared_ptr<Plan>& plan = plan_of(info);
    napi_typedarray_type type;
    size_t length;
    void* input;
    if (napi_get_typedarray_info(env, info[1], &type, &length, &input, nullptr, nullptr) != napi_ok ||
        type != napi_float32_array) {
      throw Napi::TypeError::New(env, "input: expected a Float32Array");
    }
    const double batch = info[2].IsNumber() ? info[2].As<Napi::Number>().DoubleValue() : 0;
    const size_t size = plan->tensors[plan->input].elements;
    if (!(batch >= 1) || batch * static_cast<double>(size) != static_cast<double>(length)) {
      throw Napi::RangeError::New(env, "input: expected batch × " + std::to_string(size) + " numbers, got " +
                                           std::to_string(length));
    }
    auto waiting = returns_.prepare<RunJob>();
    auto* job = static_cast<RunJob*>(waiting->job.get());
    job->kernels = kernels_;
    job->plan = plan;
    job->batch = static_cast<size_t>(batch);
    job->input.assign(static_cast<const float*>(input), static_cast<const float*>(input) + length);
    const size_t logit_count = job->batch * plan->tensors[plan->output].elements;
    job->logits.reset(new float[logit_count]);
    submit_run(*pool_, job);
    Waiting& submitted = *waiting.release();
    const Napi::Object result = Napi::Object::New(env);
    Napi::Float32Array logits = Napi::Float32Array::New(env, logit_count);
    result.Set("logits", logits);
    submitted.result = Napi::Persistent(result);
    submitted.logits = logits.Data();
    return returns_.expect(env, submitted, &Engine::settle_run);
  }

  void settle_build(Napi::Env env, Waiting& waiting) {
    auto& job = static_cast<BuildJob&>(*waiting.job);
    if (!job.plan) return reject(env, waiting);
    const uint32_t id = ++last_id_;
    const double bytes = static_cast<double>(job.plan->memory.size());
    Napi::MemoryManagement::AdjustExternalMemory(env, static_cast<int64_t>(bytes));
    plans_.emplace(id, std::move(job.plan));
    const Napi::Object result = Napi::Object::New(env);
    result.Set("id", Napi::Number::New(env, id));
    result.Set("bytes", Napi::Number::New(env, bytes));
    result.Set("ms", Napi::Number::New(env, milliseconds(job.ended - job.started)));
    waiting.deferred->Resolve(result);
  }

  void settle_run(Napi::Env env, Waiting& waiting) {
    const auto& job = static_cast<RunJob&>(*waiting.job);
    if (!job.error.empty()) return reject(env, waiting);
    std::copy_n(job.logits.get(), job.batch * job.plan->tensors[job.plan->output].elements, waiting.logits);
    const Napi::Object result = waiting.result.Value();
    result.Set("queueMs", Napi::Number::New(env, milliseconds(job.started - job.submitted)));
    result.Set("computeMs", Napi::Number::New(env, milliseconds(job.ended - job.started)));
    waiting.deferred->Resolve(result);
  }

  static void reject(Napi::Env env, const Waiting& waiting) {
    const Job& job = *waiting.job;
    const Napi::Error error = Napi::Error::New(env, job.error.empty() ? "no memory" : job.error);
    if (job.error_op >= 0) error.Value().Set("op", Napi::Number::New(env, job.error_op));
    waiting.deferred->Reject(error.Value());
  }

  Napi::Value release(const Napi::CallbackInfo& info) {
    const auto found = info[0].IsNumber() ? plans_.find(info[0].As<Napi::Number>().Uint32Value()) : plans_.end();
    if (found != plans_.end()) {
      Napi::MemoryManagement::AdjustExternalMemory(info.Env(), -static_cast<int64_t>(found->second->memory.size()));
      plans_.erase(found);
    }
    return info.Env().Undefined();
  }

  Napi::Value inspect_op(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    const std::shared_ptr<Plan>& plan = plan_of(info);
    const size_t op = info[1].As<Napi::Number>().Uint32Value();
    if (op >= plan->ops.size()) throw Napi::RangeError::New(env, "op: no such op");
    const size_t images = info[2].IsNumber() ? info[2].As<Napi::Number>().Uint32Value() : 1;
    const Inspection seen = inspect(*plan, *kernels_, op, images);
    const Napi::Object result = Napi::Object::New(env);
    const std::pair<const char*, const std::vector<float>&> parts[] = {
        {"weights", seen.weights}, {"bias", seen.bias}, {"scales", seen.scales}};
    for (const auto& [name, values] : parts) {
      Napi::Float32Array array = Napi::Float32Array::New(env, values.size());
      std::copy(values.begin(), values.end(), array.Data());
      result.Set(name, array);
    }
    result.Set("winogradBlocks", Napi::Number::New(env, static_cast<double>(seen.winograd_blocks)));
    result.Set("winogradRowBlocks", Napi::Number::New(env, static_cast<double>(seen.winograd_row_blocks)));
    result.Set("winogradLargeBlocks", Napi::Number::New(env, static_cast<double>(seen.winograd_large_blocks)));
    const auto& [square, row, large] = seen.winograd_taken;
    const Napi::Object taken = Napi::Object::New(env);
    taken.Set("square", Napi::Number::New(env, static_cast<double>(square)));
    taken.Set("row", Napi::Number::New(env, static_cast<double>(row)));
    taken.Set("large", Napi::Number::New(env, static_cast<double>(large)));
    result.Set("winogradTaken", taken);
    return result;
  }

  Napi::Value idle(const Napi::CallbackInfo& info) { return returns_.idle(info.Env()); }

  /** Ends the threads, after what is queued, and lets go of all plans. */
  Napi::Value close(const Napi::CallbackInfo& info) {
    stop();
    return info.Env().Undefined();
  }

  static void cleanup(void* engine) { static_cast<Engine*>(engine)->stop(); }

  void stop() {
    if (!pool_) return;
    napi_remove_env_cleanup_hook(env_, cleanup, this);
    pool_.reset();
    returns_.close();
    plans_.clear();
  }

  napi_env env_ = nullptr;
  const Kernels* kernels_ = nullptr;
  WinogradUse winograd_ = WinogradUse::where_it_pays;
  std::unique_ptr<Pool> pool_;
  Returns<Engine> returns_{*this};
  uint32_t last_id_ = 0;
  std::map<uint32_t, std::shared_ptr<Plan>> plans_;
};

Napi::Value isas(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const Napi::Array names = Napi::Array::New(env);
  for (const Kernels* k : all_kernels()) names.Set(names.Length(), Napi::String::New(env, k->name));
  return names;
}

Napi::Value plan_bytes(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(g_plan_bytes.load()));
}

Napi::Object init(Napi::Env env, Napi::Object exports) {
  exports.Set("Engine", Engine::define(env));
  exports.Set("isas", Napi::Function::New(env, isas));
  exports.Set("planBytes", Napi::Function::New(env, plan_bytes));
  exports.Set("Trainer", training::define_trainer(env));
  exports.Set("trainingIsas", Napi::Function::New(env, training::training_isas));
  return exports;
}

}  // namespace
}  // namespace bitdial

static Napi::Object bitdial_init(Napi::Env env, Napi::Object exports) { return bitdial::init(env, exports); }
NODE_API_MODULE(bitdial, bitdial_init)
