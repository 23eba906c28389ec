#include "scales.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include "sketch.h"

namespace bitdial {
namespace {

/** How the least-error search walks (src/quantize/scales.ts). */
struct Walk {
  int steps;
  double factor;
};
constexpr Walk kWalks[] = {{24, 0.9}, {24, 0.93}, {20, 0.95}, {16, 0.96}, {12, 0.97}, {12, 0.98}, {12, 0.988}};
constexpr int kBothSignsUpTo = 4;

float min_max_scale(float least, float greatest, int bits, int sign) {
  const double low = sign > 0 ? least : -greatest, high = sign > 0 ? greatest : -least;
  const double top = (1 << (bits - 1)) - 1;
  return static_cast<float>(sign * std::max(high / top, -low / (top + 1)));
}

}  // namespace

float channel_scale(const Kernels& k, const Channel& channel, int bits, Rule rule, int& hint) {
  const auto [w, n, least, greatest] = channel;
  const float plus = min_max_scale(least, greatest, bits, 1), minus = min_max_scale(least, greatest, bits, -1);
  if (plus < 1e-30 || -minus < 1e-30) return 1;
  const float natural = -minus < plus ? minus : plus;
  if (rule == Rule::min_max) return natural;
  const auto [steps, factor] = kWalks[bits - 2];
  const float other = natural == plus ? minus : plus;
  float candidates[48] = {};
  int count = 0;
  for (int sign = 0; sign < (bits <= kBothSignsUpTo ? 2 : 1); sign++) {
    double scale = static_cast<double>(sign == 0 ? natural : other);
    for (int step = 0; step < steps; step++, scale *= factor) candidates[count++] = static_cast<float>(scale);
  }
  const auto error_of = rule == Rule::p24 ? k.p24_error : k.squared_error;
  // The first of the least error wins, in whatever order they are tried: one of the best first, by the sketch or the last row,
  // for then most of the others are given up early, or not tried at all.
  int first = hint < count && std::isfinite(candidates[hint]) ? hint : 0;
  std::optional<Sketch> sketch;
  double distances[48];
  if (rule == Rule::squared_error && Sketch::pays(channel, bits)) {
    sketch.emplace(k, channel);
    for (int i = 0; i < count; i++) distances[i] = sketch->distance(candidates[i], bits);
    first = static_cast<int>(std::min_element(distances, distances + count) - distances);
  }
  int chosen = first;
  float error = error_of(w, n, candidates[first], bits, std::numeric_limits<float>::infinity());
  for (int i = 0; i < count; i++) {
    if (i == first || (sketch && sketch->exceeds(distances[i], error))) continue;
    const float e = error_of(w, n, candidates[i], bits, error);
    if (e < error || (e == error && i < chosen)) {
      error = e;
      chosen = i;
    }
  }
  hint = chosen;
  float best = candidates[chosen];
  for (int round = 0; round < 2; round++) {
    double numerator, denominator;
    k.moments(w, n, best, bits, &numerator, &denominator);
    const float refined = denominator == 0 ? best : static_cast<float>(numerator / denominator);
    if (refined == best) break;
    const float e = error_of(w, n, refined, bits, error);
    // The next round would try the same again.
    if (!(e < error)) break;
    error = e;
    best = refined;
  }
  return best;
}

}  // namespace bitdial
