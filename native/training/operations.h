#pragma once

#include <cstdint>
#include <string>

#include "layers.h"

namespace bitdial::training {

/** The bytes that tensors lie in: the heap of the wasm backend. */
struct Heap {
  uint8_t* data;
  size_t size;
};

/** Numbers that describe a call, in the order that src/tensorflow/native/ writes them: byte offsets of tensors, and sizes. */
struct Words {
  const double* at;
  size_t count;
};

/**
 * Runs an operation by its name.
 * @throws std::invalid_argument for a name or words that do not fit, or a tensor that is not within the heap
 */
void run_operation(Context&, const std::string& name, Heap, Words);

}  // namespace bitdial::training
