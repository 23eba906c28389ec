#include "sketch.h"

#include <algorithm>
#include <cmath>

namespace bitdial {

bool Sketch::pays(const Channel& channel, int bits) {
  // From 5 bits on the error is too near to a bin's width. More weights would leave exact integers, and greater ones float32.
  return bits <= 4 && channel.n >= static_cast<size_t>(160 * bits) && channel.n <= size_t{1} << 20 && channel.greatest - channel.least < 1e37f;
}

Sketch::Sketch(const Kernels& k, const Channel& channel) : n_(channel.n), bins_(n_ < 1024 ? kMostBins / 2 : kMostBins) {
  const float least = channel.least, density = (static_cast<float>(bins_) - 0.5f) / (channel.greatest - least);
  density_ = static_cast<double>(density);
  zero_ = -static_cast<double>(least) * density_ - 0.5;
  // Two, for neighbours often fall into one bin, and the second would wait for the first.
  uint32_t counts[2][kMostBins];
  for (auto& half : counts) std::fill_n(half, bins_, 0);
  double squares = 0;
  for (size_t i = 0; i < n_; i += 1024) {
    uint16_t bins[1024];
    const size_t some = std::min<size_t>(1024, n_ - i);
    squares += static_cast<double>(k.bins(channel.w + i, some, least, density, bins));
    size_t j = 0;
    for (; j + 4 <= some; j += 4) {
      counts[0][bins[j]]++;
      counts[1][bins[j + 1]]++;
      counts[0][bins[j + 2]]++;
      counts[1][bins[j + 3]]++;
    }
    for (; j < some; j++) counts[0][bins[j]]++;
  }
  // What rounding to a bin and rounding w - scale·code do (each 2^-22 of 2^10 bins at most, for a weight) is less than the rest.
  distance_ = 1.0001 * std::sqrt(squares) + 0.002 * std::sqrt(static_cast<double>(n_));
  uint32_t count = 0;
  uint64_t sum = 0, sums = 0;
  above_[bins_] = above_[bins_ + 1] = 0;
  for (size_t i = bins_; i-- > 0;) {
    count += counts[0][i] + counts[1][i];
    sum += count;
    above_[i] = static_cast<double>(static_cast<int64_t>(sum));
    if (i > 0) sums += sum;
  }
  sum_ = above_[1];
  squares_ = 2 * static_cast<double>(sums) - sum_;
}

/**
 * From the lowest level on: with a step S, each threshold T that a weight at i lies above takes off 2S·(i - T), for
 * (d - S)² = d² - 2S·(d - S/2).
 */
double Sketch::distance(float scale, int bits) const {
  const double step = std::fabs(static_cast<double>(scale)) * density_;
  const int levels = 1 << bits, below = scale > 0 ? levels / 2 : levels / 2 - 1;
  const double lowest = zero_ - step * below;
  const double last = static_cast<double>(bins_);
  double beyond = 0;
  double at = lowest + step / 2 + 1;
  for (int j = 0; j + 1 < levels; j++, at += step) {
    const int i = static_cast<int>(std::clamp(at, 0.0, last));
    beyond += above_[i] - (at - i) * (above_[i] - above_[i + 1]);
  }
  const double error = squares_ - 2 * lowest * sum_ + lowest * lowest * static_cast<double>(n_) - 2 * step * beyond;
  return std::sqrt(std::max(error, 0.0));
}

/**
 * By the triangle inequality the weights are at least this far from the nearest (let alone the chosen) levels. The factor is
 * above what rounding takes from a sum of squares. Below 1e-30 squares may have gone to 0.
 */
bool Sketch::exceeds(double distance, float error) const {
  if (error < 1e-30f) return false;
  const double least = distance - distance_;
  const double limit = static_cast<double>(error) * density_ * density_ * (1 + 1e-4 + static_cast<double>(n_) * 1e-8);
  return least > 0 && least * least > limit;
}

}  // namespace bitdial
