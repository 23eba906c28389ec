#include <algorithm>
#include <cstring>

#include "convolution.h"

namespace bitdial::training {

void copy_strip(const float* image, size_t height, size_t width, size_t channels, const Reach& reach, float* room) {
  const size_t row = reach.columns * channels;
  const long columns = static_cast<long>(reach.columns), w = static_cast<long>(width);
  // Columns of the strip that lie in the image.
  const long first = std::clamp(-reach.first_x, 0l, columns), end = std::clamp(w - reach.first_x, first, columns);
  const size_t before = static_cast<size_t>(first) * channels, inner = static_cast<size_t>(end - first) * channels;
  for (size_t r = 0; r < reach.rows; r++, room += row) {
    const long y = reach.first_y + static_cast<long>(r);
    if (y < 0 || y >= static_cast<long>(height) || inner == 0) {
      std::fill_n(room, row, 0.0f);
      continue;
    }
    const float* from = image + (y * w + reach.first_x + first) * static_cast<long>(channels);
    std::fill_n(room, before, 0.0f);
    std::memcpy(room + before, from, inner * sizeof(float));
    std::fill_n(room + before + inner, row - before - inner, 0.0f);
  }
}

Strip reach_over(const float* image, size_t height, size_t width, size_t channels, const Reach& reach, float* room) {
  if (reach.inside(height, width)) {
    const long at = reach.first_y * static_cast<long>(width) + reach.first_x;
    return {image + at * static_cast<long>(channels), width * channels};
  }
  copy_strip(image, height, width, channels, reach, room);
  return {room, reach.columns * channels};
}

Taps forward_taps(const Convolution& c) {
  return {c.height, c.width, -c.top, -c.left, 0, 0, 1, 1, 0, 0, 1, 1, c.out_h, c.out_w};
}

namespace {

/** One axis of a phase: input pixels phase, phase + stride, … */
struct Axis {
  size_t taps;
  long first, kernel;
  size_t count;
};

Axis axis_of(size_t phase, size_t stride, long pad, size_t kernel, size_t size) {
  const long s = static_cast<long>(stride), reach = static_cast<long>(phase) + pad;
  // Output o sees input i at kernel position k = i + pad - o·stride: the greatest k belongs to the first output.
  const long residue = ((reach % s) + s) % s, last = static_cast<long>(kernel) - 1;
  const long greatest = last - ((last - residue) % s + s) % s;
  const size_t count = phase < size ? (size - phase + stride - 1) / stride : 0;
  if (residue > last) return {0, 0, 0, count};
  return {static_cast<size_t>((greatest - residue) / s + 1), (reach - greatest) / s, greatest, count};
}

}  // namespace

std::vector<Taps> gradient_taps(const Convolution& c) {
  std::vector<Taps> phases;
  for (size_t py = 0; py < c.stride_y; py++) {
    const Axis y = axis_of(py, c.stride_y, c.top, c.height, c.in_h);
    for (size_t px = 0; px < c.stride_x; px++) {
      const Axis x = axis_of(px, c.stride_x, c.left, c.width, c.in_w);
      if (y.count == 0 || x.count == 0) continue;
      const size_t rows = x.taps > 0 ? y.taps : 0, columns = y.taps > 0 ? x.taps : 0;
      phases.push_back({rows, columns, y.first, x.first, y.kernel, x.kernel, -static_cast<long>(c.stride_y),
                        -static_cast<long>(c.stride_x), py, px, c.stride_y, c.stride_x, y.count, x.count});
    }
  }
  return phases;
}

}  // namespace bitdial::training
