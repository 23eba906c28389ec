#pragma once

#include <napi.h>

namespace bitdial::training {

/** The class `Trainer` for JavaScript: new Trainer(threads, isa).run(name, heap, words). */
Napi::Function define_trainer(Napi::Env env);
/** Names of the instruction sets that this build and this processor have, the fastest first. */
Napi::Value training_isas(const Napi::CallbackInfo& info);

}  // namespace bitdial::training
