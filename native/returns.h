#pragma once

#include <napi.h>

#include <memory>
#include <optional>
#include <vector>

#include "jobs.h"

namespace bitdial {

/**
 * The way of jobs back to the thread of JavaScript, where all methods run: through a thread-safe function, which keeps the
 * process and the owner alive only while there are any.
 */
template <typename Owner>
class Returns {
 public:
  /** A job, and what waits for it. */
  struct Waiting {
    std::unique_ptr<Job> job;
    /** Null as long as there is no promise to settle. */
    void (Owner::*settle)(Napi::Env, Waiting&) = nullptr;
    std::optional<Napi::Promise::Deferred> deferred;
    /** Keep the floats of a build alive. */
    std::vector<Napi::Reference<Napi::Value>> sources;
    /** What a run will give, but for its numbers. */
    Napi::ObjectReference result;
    float* logits = nullptr;
  };

  explicit Returns(Owner& owner) : owner_(owner) {}

  void open(Napi::Env env) {
    done_ = Done::New(env, "bitdial", 0, 1, this);
    done_.Unref(env);
  }

  void close() { done_.Release(); }

  template <typename J>
  std::unique_ptr<Waiting> prepare() {
    auto waiting = std::make_unique<Waiting>();
    waiting->job = std::make_unique<J>();
    waiting->job->finish = [this, w = waiting.get()](Job*) { done_.NonBlockingCall(w); };
    return waiting;
  }

  /** The promise of a job that was submitted. It comes back on this thread, so not before the caller is through. */
  Napi::Value expect(Napi::Env env, Waiting& waiting, void (Owner::*settle)(Napi::Env, Waiting&)) {
    waiting.deferred.emplace(env);
    waiting.settle = settle;
    if (busy_++ == 0) {
      done_.Ref(env);
      owner_.Ref();
    }
    return waiting.deferred->Promise();
  }

  /** A promise that is kept as soon as no job is under way. */
  Napi::Value idle(Napi::Env env) {
    const Napi::Promise::Deferred deferred(env);
    if (busy_ > 0) idle_.push_back(deferred);
    else deferred.Resolve(env.Undefined());
    return deferred.Promise();
  }

 private:
  static void back(Napi::Env env, Napi::Function, Returns* self, Waiting* ended) {
    if (!env) {
      // The environment is gone, and what it had with it.
      ended->job.reset();
      return;
    }
    const std::unique_ptr<Waiting> waiting(ended);
    if (!waiting->settle) return;
    try {
      (self->owner_.*waiting->settle)(env, *waiting);
      if (--self->busy_ > 0) return;
      for (const Napi::Promise::Deferred& deferred : self->idle_) deferred.Resolve(env.Undefined());
      self->idle_.clear();
      self->done_.Unref(env);
      self->owner_.Unref();
    } catch (const Napi::Error&) {
      // The environment is ending and runs no JavaScript any more: nobody waits.
    }
  }

  using Done = Napi::TypedThreadSafeFunction<Returns, Waiting, back>;
  Owner& owner_;
  Done done_;
  size_t busy_ = 0;
  std::vector<Napi::Promise::Deferred> idle_;
};

}  // namespace bitdial
