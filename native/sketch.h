#pragma once

#include <cstddef>
#include <cstdint>

#include "scales.h"

namespace bitdial {

/**
 * How many of a channel's weights lie where, in bins: the squared error of any scale follows from it closely, at a small part of
 * what a walk over the weights costs. That is enough to leave out most candidates of the scale search, for sure.
 */
class Sketch {
 public:
  /** Whether drawing one costs less than the walks that it saves, and its bounds hold. */
  static bool pays(const Channel& channel, int bits);

  Sketch(const Kernels& k, const Channel& channel);

  /** √Σ(v - scale·code)², v the middle of a weight's bin, in widths of a bin. */
  double distance(float scale, int bits) const;

  /** Whether a scale of that distance is sure to have a squared error (kernels.h), rounded as it is, above `error`. */
  bool exceeds(double distance, float error) const;

 private:
  static constexpr size_t kMostBins = 1024;

  size_t n_, bins_;
  /** Of the weights from the middles of their bins, at most. */
  double distance_ = 0;
  /** Bins for a unit of weight, and where weight 0 lies; bin i has its middle at i. */
  double density_, zero_;
  /** Σi and Σi² over all weights. */
  double sum_ = 0, squares_ = 0;
  /** For i: Σ(j - i + 1) over the weights in bins j ≥ i. */
  double above_[kMostBins + 2];
};

}  // namespace bitdial
