#include "trainer.h"

#include <memory>
#include <stdexcept>

#include "operations.h"
#include "selection.h"

namespace bitdial::training {
namespace {

/** One thread of JavaScript's, which computes and waits: every call returns when its result is in the heap. */
class Trainer : public Napi::ObjectWrap<Trainer> {
 public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "Trainer",
                       {InstanceMethod<&Trainer::run>("run"), InstanceMethod<&Trainer::close>("close"),
                        InstanceAccessor<&Trainer::isa>("isa"), InstanceAccessor<&Trainer::threads>("threads")});
  }

  explicit Trainer(const Napi::CallbackInfo& info)
      : Napi::ObjectWrap<Trainer>(info),
        kernels_(find_kernels(info[1].IsString() ? info[1].As<Napi::String>().Utf8Value() : "")) {
    const double threads = info[0].IsNumber() ? info[0].As<Napi::Number>().DoubleValue() : 0;
    if (!(threads >= 1 && threads <= 1024)) throw Napi::RangeError::New(info.Env(), "threads: expected 1 to 1024");
    crew_ = std::make_unique<Crew>(static_cast<size_t>(threads));
    context_.reset(new Context{kernels_, *crew_, {}, {}});
    env_ = info.Env();
    napi_add_env_cleanup_hook(env_, cleanup, this);
  }

  ~Trainer() override { stop(); }

 private:
  Napi::Value isa(const Napi::CallbackInfo& info) { return Napi::String::New(info.Env(), kernels_.name); }
  Napi::Value threads(const Napi::CallbackInfo& info) {
    return Napi::Number::New(info.Env(), crew_ ? static_cast<double>(crew_->size()) : 0);
  }

  /** run(name: string, heap: Uint8Array, words: Float64Array) */
  Napi::Value run(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    if (!context_) throw Napi::Error::New(env, "the trainer is closed");
    if (!info[0].IsString() || !is_array(info[1], napi_uint8_array) || !is_array(info[2], napi_float64_array)) {
      throw Napi::TypeError::New(env, "run: expected a string, a Uint8Array and a Float64Array");
    }
    const std::string name = info[0].As<Napi::String>().Utf8Value();
    auto heap = info[1].As<Napi::Uint8Array>();
    const auto words = info[2].As<Napi::Float64Array>();
    try {
      run_operation(*context_, name, {heap.Data(), heap.ByteLength()}, {words.Data(), words.ElementLength()});
    } catch (const std::exception& error) {
      throw Napi::RangeError::New(env, name + ": " + error.what());
    }
    return env.Undefined();
  }

  static bool is_array(const Napi::Value& value, napi_typedarray_type type) {
    return value.IsTypedArray() && value.As<Napi::TypedArray>().TypedArrayType() == type;
  }

  /** Ends the threads and gives back the memory. */
  Napi::Value close(const Napi::CallbackInfo& info) {
    stop();
    return info.Env().Undefined();
  }

  static void cleanup(void* trainer) { static_cast<Trainer*>(trainer)->stop(); }

  void stop() {
    if (!crew_) return;
    napi_remove_env_cleanup_hook(env_, cleanup, this);
    context_.reset();
    crew_.reset();
  }

  napi_env env_ = nullptr;
  const Kernels& kernels_;
  std::unique_ptr<Crew> crew_;
  std::unique_ptr<Context> context_;
};

}  // namespace

Napi::Function define_trainer(Napi::Env env) { return Trainer::define(env); }

Napi::Value training_isas(const Napi::CallbackInfo& info) {
  const Napi::Array names = Napi::Array::New(info.Env());
  for (const Kernels* k : all_kernels()) names.Set(names.Length(), Napi::String::New(info.Env(), k->name));
  return names;
}

}  // namespace bitdial::training
