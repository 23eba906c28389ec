#pragma once

#include <cstddef>

#include "plan.h"

namespace bitdial {

/** An output channel's weights; least ≤ 0 ≤ greatest hold them all. */
struct Channel {
  const float* w;
  size_t n;
  float least, greatest;
};

/**
 * The scale of a channel, as src/quantize/scales.ts finds it, bit for bit.
 * @param hint which candidate was best for a row like this one; becomes this row's
 */
float channel_scale(const Kernels& k, const Channel& channel, int bits, Rule rule, int& hint);

}  // namespace bitdial
