// Depthwise convolution in float32 with AVX-512: 16 channels at a time. Included by kernels_avx512vnni.cc.

/** Bias, bounds and residual of 16 channels. */
struct FloatStorer {
  __m512 bias, low, high;
  __mmask16 mask;
  const float* residual;
  float* to;

  FloatStorer(const Epilogue& e, size_t c, __mmask16 lanes)
      : bias(_mm512_maskz_loadu_ps(lanes, e.float_bias + c)),
        low(_mm512_set1_ps(e.low)),
        high(_mm512_set1_ps(e.high)),
        mask(lanes),
        residual(e.float_residual ? e.float_residual + c : nullptr),
        to(e.floats + c) {}

  void store(size_t at, __m512 v) const {
    if (residual) v = _mm512_add_ps(v, _mm512_maskz_loadu_ps(mask, residual + at));
    v = _mm512_min_ps(_mm512_max_ps(v, low), high);
    if (mask == 0xffff) _mm512_storeu_ps(to + at, v);
    else _mm512_mask_storeu_ps(to + at, mask, v);
  }
};

/** Of up to three lines one pixel. */
struct FloatColumn {
  __m512 low, middle, high;
};

/** The lines under a window of up to three; outside of the image is 0. */
struct FloatLines {
  const float* line[3];
  __mmask16 mask[3];
  int64_t channels, width;

  FloatLines(const Depthwise& p, size_t oy, size_t c, __mmask16 lanes)
      : channels(p.window.channels), width(p.window.in_width) {
    const WindowShape& w = p.window;
    for (size_t k = 0; k < 3; k++) {
      const int64_t y = window_start(oy, w.stride_height, w.pad_top) + static_cast<int64_t>(k * w.dilation_height);
      const bool in = k < w.kernel_height && y >= 0 && y < w.in_height;
      line[k] = p.float_a + (in ? y * width * channels : 0) + c;
      mask[k] = in ? lanes : 0;
    }
  }

  FloatColumn column(int64_t x) const {
    const __m512 none = _mm512_setzero_ps();
    if (x < 0 || x >= width) return {none, none, none};
    const int64_t at = x * channels;
    return {_mm512_maskz_loadu_ps(mask[0], line[0] + at), _mm512_maskz_loadu_ps(mask[1], line[1] + at),
            _mm512_maskz_loadu_ps(mask[2], line[2] + at)};
  }
};

inline __m512 add_products(const FloatColumn& a, const FloatColumn& b, __m512 sum) {
  return _mm512_fmadd_ps(a.low, b.low, _mm512_fmadd_ps(a.middle, b.middle, _mm512_fmadd_ps(a.high, b.high, sum)));
}

/** A line of outputs of 16 channels. Stride: 1 or 2 where a window shares columns with the next one, else 0. */
template <int Stride, int KW>
void small_float_line(const Depthwise& p, size_t oy, size_t c) {
  const WindowShape& w = p.window;
  const __mmask16 lanes = first_lanes(w.channels - c);
  const FloatLines lines(p, oy, c, lanes);
  const FloatStorer storer(p.epilogue, c, lanes);
  const auto tap = [&](size_t y, size_t x) {
    if (y >= w.kernel_height || x >= w.kernel_width) return _mm512_setzero_ps();
    return _mm512_maskz_loadu_ps(lanes, p.float_weights + (y * w.kernel_width + x) * w.channels + c);
  };
  const FloatColumn left = {tap(0, 0), tap(1, 0), tap(2, 0)}, inner = {tap(0, 1), tap(1, 1), tap(2, 1)},
                    right = {tap(0, 2), tap(1, 2), tap(2, 2)};
  const size_t pixels = w.out_width, pitch = p.epilogue.pitch;
  const int64_t step = w.stride_width, dilation = w.dilation_width;
  size_t at = oy * pixels * pitch;
  int64_t x = window_start(0, w.stride_width, w.pad_left);
  // Each is a variable of its own: an array of them would be kept in memory.
  FloatColumn first, second, third;
  if (Stride > 0) first = lines.column(x);
  if (Stride == 1) second = lines.column(x + 1);
  for (size_t ox = 0; ox < pixels; ox++, at += pitch, x += step) {
    if (Stride == 0) first = lines.column(x);
    if (Stride != 1 && KW > 1) second = lines.column(x + dilation);
    if (KW > 2) third = lines.column(x + 2 * dilation);
    __m512 sum = add_products(first, left, storer.bias);
    if (KW > 1) sum = add_products(second, inner, sum);
    if (KW > 2) sum = add_products(third, right, sum);
    storer.store(at, sum);
    if (Stride == 1) first = second;
    if (Stride == 1) second = third;
    if (Stride == 2) first = third;
  }
}

/** P pixels of a line × 16 channels under any window; of several pixels all columns are inside. */
template <int P>
inline void float_depthwise_tile(const Depthwise& p, size_t oy, size_t ox, size_t c) {
  const WindowShape& w = p.window;
  const size_t channels = w.channels, step = w.stride_width * channels;
  const __mmask16 lanes = first_lanes(channels - c);
  const FloatStorer storer(p.epilogue, c, lanes);
  const int64_t y = window_start(oy, w.stride_height, w.pad_top), x = window_start(ox, w.stride_width, w.pad_left);
  const Inside rows = inside(y, w.kernel_height, w.dilation_height, w.in_height);
  const Inside columns = inside(x, w.kernel_width, w.dilation_width, w.in_width);
  __m512 sums[P];
  for (__m512& sum : sums) sum = storer.bias;
  for (size_t ky = rows.first; ky < rows.end; ky++) {
    const int64_t line = (y + static_cast<int64_t>(ky * w.dilation_height)) * w.in_width + x;
    for (size_t kx = columns.first; kx < columns.end; kx++) {
      const int64_t at = line + static_cast<int64_t>(kx * w.dilation_width);
      const float* a = p.float_a + static_cast<size_t>(at) * channels + c;
      const __m512 weight =
          _mm512_maskz_loadu_ps(lanes, p.float_weights + (ky * w.kernel_width + kx) * channels + c);
      for (size_t i = 0; i < P; i++) {
        sums[i] = _mm512_fmadd_ps(_mm512_maskz_loadu_ps(lanes, a + i * step), weight, sums[i]);
      }
    }
  }
  for (size_t i = 0; i < P; i++) storer.store((oy * w.out_width + ox + i) * p.epilogue.pitch, sums[i]);
}

void any_float_line(const Depthwise& p, size_t oy, size_t c) {
  const Inside whole = whole_windows(p.window);
  size_t ox = 0;
  for (; ox < whole.first; ox++) float_depthwise_tile<1>(p, oy, ox, c);
  for (; ox + 4 <= whole.end; ox += 4) float_depthwise_tile<4>(p, oy, ox, c);
  for (; ox < p.window.out_width; ox++) float_depthwise_tile<1>(p, oy, ox, c);
}

void float_depthwise(const Depthwise& p) {
  using Line = void (*)(const Depthwise&, size_t, size_t);
  constexpr Line kSmall[3][3] = {{small_float_line<0, 1>, small_float_line<0, 2>, small_float_line<0, 3>},
                                 {small_float_line<0, 1>, small_float_line<0, 2>, small_float_line<1, 3>},
                                 {small_float_line<0, 1>, small_float_line<0, 2>, small_float_line<2, 3>}};
  const WindowShape& w = p.window;
  const size_t shared = w.dilation_width == 1 && w.stride_width <= 2 ? w.stride_width : 0;
  const bool small = w.kernel_height <= 3 && w.kernel_width <= 3;
  const Line line = small ? kSmall[shared][w.kernel_width - 1] : any_float_line;
  for (size_t c = 0; c < w.channels; c += kLanes) {
    for (size_t oy = p.first_line; oy < p.first_line + p.lines; oy++) line(p, oy, c);
  }
}
