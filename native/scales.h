#pragma once

#include <cstddef>

#include "plan.h"

namespace bitdial {

/**
 * The scale of an output channel's weights, as src/quantize/scales.ts finds it, bit for bit.
 * @param hint which candidate was best for a row like this one; becomes this row's
 */
float channel_scale(const Kernels& k, const float* w, size_t n, int bits, Rule rule, int& hint);

}  // namespace bitdial
