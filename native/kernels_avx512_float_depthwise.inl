// Depthwise convolution in float32 with AVX-512: 16 channels at a time. Included by kernels_avx512vnni.cc.

/** Pixels of a line whose windows have the same taps inside the image; `a` and `weights` are those of the first tap. */
struct FloatRun {
  const float* a;
  const float* weights;
  /** Floats from a tap to the next below and to the right, of the image and of the weights; and between pixels. */
  size_t line, column, weight_line, weight_column, step;
  size_t rows, columns;
  size_t pixels;
};

/** What the pixels of a run become; pointers are those of the first. */
struct FloatOut {
  __m512 bias, low, high;
  __mmask16 mask;
  const float* residual;
  float* to;
  size_t pitch;

  void store(size_t pixel, __m512 v) const {
    const size_t at = pixel * pitch;
    if (residual) v = _mm512_add_ps(v, _mm512_maskz_loadu_ps(mask, residual + at));
    _mm512_mask_storeu_ps(to + at, mask, _mm512_min_ps(_mm512_max_ps(v, low), high));
  }
};

/** All weights in registers; two pixels at a time, as each is one long chain of sums. */
template <int KH, int KW>
void small_float_run(const FloatRun& r, const FloatOut& out) {
  __m512 w[KH][KW];
  for (size_t y = 0; y < KH; y++) {
    for (size_t x = 0; x < KW; x++) {
      w[y][x] = _mm512_maskz_loadu_ps(out.mask, r.weights + y * r.weight_line + x * r.weight_column);
    }
  }
  const float* a = r.a;
  size_t i = 0;
  for (; i + 2 <= r.pixels; i += 2, a += 2 * r.step) {
    const float* b = a + r.step;
    __m512 first = out.bias, second = out.bias;
    for (size_t y = 0; y < KH; y++) {
      for (size_t x = 0; x < KW; x++) {
        const size_t at = y * r.line + x * r.column;
        first = _mm512_fmadd_ps(_mm512_maskz_loadu_ps(out.mask, a + at), w[y][x], first);
        second = _mm512_fmadd_ps(_mm512_maskz_loadu_ps(out.mask, b + at), w[y][x], second);
      }
    }
    out.store(i, first);
    out.store(i + 1, second);
  }
  if (i == r.pixels) return;
  __m512 sum = out.bias;
  for (size_t y = 0; y < KH; y++) {
    for (size_t x = 0; x < KW; x++) {
      sum = _mm512_fmadd_ps(_mm512_maskz_loadu_ps(out.mask, a + y * r.line + x * r.column), w[y][x], sum);
    }
  }
  out.store(i, sum);
}

template <int P>
void float_pixels(const FloatRun& r, size_t pixel, const FloatOut& out) {
  __m512 sums[P];
  for (__m512& sum : sums) sum = out.bias;
  for (size_t y = 0; y < r.rows; y++) {
    const float* w = r.weights + y * r.weight_line;
    const float* a = r.a + pixel * r.step + y * r.line;
    for (size_t x = 0; x < r.columns; x++, w += r.weight_column, a += r.column) {
      const __m512 weight = _mm512_maskz_loadu_ps(out.mask, w);
      for (size_t i = 0; i < P; i++) {
        sums[i] = _mm512_fmadd_ps(_mm512_maskz_loadu_ps(out.mask, a + i * r.step), weight, sums[i]);
      }
    }
  }
  for (size_t i = 0; i < P; i++) out.store(pixel + i, sums[i]);
}

void float_run(const FloatRun& r, const FloatOut& out) {
  using Run = void (*)(const FloatRun&, const FloatOut&);
  constexpr Run kSmall[3][3] = {{small_float_run<1, 1>, small_float_run<1, 2>, small_float_run<1, 3>},
                                {small_float_run<2, 1>, small_float_run<2, 2>, small_float_run<2, 3>},
                                {small_float_run<3, 1>, small_float_run<3, 2>, small_float_run<3, 3>}};
  if (r.rows - 1 < 3 && r.columns - 1 < 3) return kSmall[r.rows - 1][r.columns - 1](r, out);
  size_t pixel = 0;
  for (; pixel + 4 <= r.pixels; pixel += 4) float_pixels<4>(r, pixel, out);
  for (; pixel < r.pixels; pixel++) float_pixels<1>(r, pixel, out);
}

void float_depthwise(const Depthwise& p) {
  const WindowShape& w = p.window;
  const Epilogue& e = p.epilogue;
  const size_t channels = w.channels;
  const Inside whole = whole_windows(w);
  for (size_t c = 0; c < channels; c += kLanes) {
    const __mmask16 mask = first_lanes(channels - c);
    for (size_t oy = p.first_line; oy < p.first_line + p.lines; oy++) {
      const int64_t y = window_start(oy, w.stride_height, w.pad_top);
      const Inside rows = inside(y, w.kernel_height, w.dilation_height, w.in_height);
      for (size_t ox = 0; ox < w.out_width;) {
        const int64_t x = window_start(ox, w.stride_width, w.pad_left);
        const Inside columns = inside(x, w.kernel_width, w.dilation_width, w.in_width);
        const size_t pixels = ox == whole.first && whole.end > ox ? whole.end - ox : 1;
        const int64_t at = (y + static_cast<int64_t>(rows.first * w.dilation_height)) * w.in_width + x +
                           static_cast<int64_t>(columns.first * w.dilation_width);
        const size_t tap = rows.first * w.kernel_width + columns.first;
        const FloatRun run = {p.float_a + at * static_cast<int64_t>(channels) + c, p.float_weights + tap * channels + c,
                              w.dilation_height * w.in_width * channels, w.dilation_width * channels,
                              w.kernel_width * channels, channels, w.stride_width * channels,
                              rows.end - rows.first, columns.end - columns.first, pixels};
        const size_t to = (oy * w.out_width + ox) * e.pitch + c;
        const FloatOut out = {_mm512_maskz_loadu_ps(mask, e.float_bias + c), _mm512_set1_ps(e.low),
                              _mm512_set1_ps(e.high), mask, e.float_residual ? e.float_residual + to : nullptr,
                              e.floats + to, e.pitch};
        float_run(run, out);
        ox += pixels;
      }
    }
  }
}
