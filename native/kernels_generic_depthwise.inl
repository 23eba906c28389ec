// Depthwise convolution in plain C++. Included by kernels_generic.inl.

inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

/** Taps first … end - 1 of a kernel's side fall into the image, where its first tap is at `start`. */
struct Inside {
  size_t first, end;
};

inline Inside inside(int64_t start, size_t taps, size_t dilation, size_t size) {
  const int64_t step = static_cast<int64_t>(dilation), all = static_cast<int64_t>(taps);
  // How many taps come before a position; most windows need no division.
  const auto before = [&](int64_t at) {
    if (at <= start) return int64_t{0};
    return least(all, step == 1 ? at - start : (at - start + step - 1) / step);
  };
  const int64_t first = before(0), end = before(static_cast<int64_t>(size));
  return {static_cast<size_t>(first), static_cast<size_t>(end)};
}

/** Where the window of an output's line or column begins. */
inline int64_t window_start(size_t at, size_t stride, size_t pad) {
  return static_cast<int64_t>(at * stride) - static_cast<int64_t>(pad);
}

/** Of a line's outputs first … end - 1 have all columns of their windows inside. */
inline Inside whole_windows(const WindowShape& w) {
  const int64_t stride = w.stride_width, pad = w.pad_left, out = w.out_width;
  const int64_t last = int64_t{w.in_width} - 1 - (int64_t{w.kernel_width} - 1) * w.dilation_width + pad;
  const int64_t first = least((pad + stride - 1) / stride, out);
  const int64_t end = last < 0 ? first : least(last / stride + 1, out);
  return {static_cast<size_t>(first), static_cast<size_t>(end < first ? first : end)};
}

[[maybe_unused]] void generic_depthwise(const Depthwise& p) {
  constexpr size_t kStep = 64;
  const WindowShape& w = p.window;
  for (size_t oy = p.first_line; oy < p.first_line + p.lines; oy++) {
    const int64_t y = window_start(oy, w.stride_height, w.pad_top);
    for (size_t ox = 0; ox < w.out_width; ox++) {
      const int64_t x = window_start(ox, w.stride_width, w.pad_left);
      for (size_t c = 0; c < w.channels; c += kStep) {
        const size_t n = w.channels - c < kStep ? w.channels - c : kStep;
        int32_t sums[kStep] = {};
        const int8_t* weights = p.weights + c;
        for (size_t ky = 0; ky < w.kernel_height; ky++) {
          const int64_t iy = y + static_cast<int64_t>(ky * w.dilation_height);
          for (size_t kx = 0; kx < w.kernel_width; kx++, weights += w.channels) {
            const int64_t ix = x + static_cast<int64_t>(kx * w.dilation_width);
            if (iy < 0 || iy >= w.in_height || ix < 0 || ix >= w.in_width) {
              for (size_t i = 0; i < n; i++) sums[i] += p.fill * weights[i];
            } else {
              const uint8_t* a = p.a + static_cast<size_t>(iy * w.in_width + ix) * w.channels + c;
              for (size_t i = 0; i < n; i++) sums[i] += a[i] * weights[i];
            }
          }
        }
        store_sums(p.epilogue, oy * w.out_width + ox, c, n, sums);
      }
    }
  }
}

[[maybe_unused]] void generic_float_depthwise(const Depthwise& p) {
  constexpr size_t kStep = 64;
  const WindowShape& w = p.window;
  for (size_t oy = p.first_line; oy < p.first_line + p.lines; oy++) {
    const int64_t y = window_start(oy, w.stride_height, w.pad_top);
    const Inside rows = inside(y, w.kernel_height, w.dilation_height, w.in_height);
    for (size_t ox = 0; ox < w.out_width; ox++) {
      const int64_t x = window_start(ox, w.stride_width, w.pad_left);
      const Inside columns = inside(x, w.kernel_width, w.dilation_width, w.in_width);
      for (size_t c = 0; c < w.channels; c += kStep) {
        const size_t n = w.channels - c < kStep ? w.channels - c : kStep;
        float sums[kStep] = {};
        for (size_t ky = rows.first; ky < rows.end; ky++) {
          const int64_t line = (y + static_cast<int64_t>(ky * w.dilation_height)) * w.in_width + x;
          for (size_t kx = columns.first; kx < columns.end; kx++) {
            const int64_t at = line + static_cast<int64_t>(kx * w.dilation_width);
            const float* a = p.float_a + static_cast<size_t>(at) * w.channels + c;
            const float* weights = p.float_weights + (ky * w.kernel_width + kx) * w.channels + c;
            for (size_t i = 0; i < n; i++) sums[i] += a[i] * weights[i];
          }
        }
        store_floats(p.epilogue, oy * w.out_width + ox, c, n, sums);
      }
    }
  }
}
