#pragma once

#include <algorithm>
#include <vector>

#include "kernels.h"

namespace bitdial {

/** Rows and columns that all windows together reach over. */
inline size_t span_height(const WindowShape& w) {
  return (w.out_height - size_t{1}) * w.stride_height + (w.kernel_height - size_t{1}) * w.dilation_height + 1;
}
inline size_t span_width(const WindowShape& w) {
  return (w.out_width - size_t{1}) * w.stride_width + (w.kernel_width - size_t{1}) * w.dilation_width + 1;
}

/** Elements from a patch's first to each run of inputs that lie side by side. */
struct Runs {
  std::vector<uint32_t> starts;
  size_t length;
};
inline Runs runs_of(const WindowShape& w, size_t row, size_t channels) {
  Runs runs;
  const bool together = w.dilation_width == 1;
  runs.length = (together ? w.kernel_width : 1) * channels;
  for (size_t ky = 0; ky < w.kernel_height; ky++) {
    for (size_t kx = 0; kx < (together ? 1 : w.kernel_width); kx++) {
      runs.starts.push_back(static_cast<uint32_t>(ky * w.dilation_height * row + kx * w.dilation_width * channels));
    }
  }
  return runs;
}

/** Element at which the patch of pixel `first` … `first + count - 1` begins; pixels run over images. */
inline void pixel_starts(const WindowShape& w, size_t row, size_t image, size_t channels, size_t first, size_t count,
                         std::vector<uint32_t>& out) {
  out.resize(count);
  const size_t per_image = size_t{w.out_height} * w.out_width, step = w.stride_width * channels;
  size_t n = first / per_image, y = first % per_image / w.out_width, x = first % w.out_width;
  for (size_t i = 0; i < count;) {
    const size_t line = n * image + y * w.stride_height * row, pixels = std::min(count - i, w.out_width - x);
    for (size_t j = 0; j < pixels; j++) out[i + j] = static_cast<uint32_t>(line + (x + j) * step);
    i += pixels;
    x = 0;
    if (++y == w.out_height) {
      y = 0;
      n++;
    }
  }
}

}  // namespace bitdial
