// Depthwise convolution of any window with AVX-512 VNNI. Included by kernels_avx512vnni.cc.

/** P pixels of a line × 16 channels from `c` on; of several pixels all columns are inside. */
template <int P>
inline void depthwise_tile(const Depthwise& p, size_t oy, size_t ox, size_t c, const Storer& storer) {
  const WindowShape& w = p.window;
  const size_t channels = w.channels, step = w.stride_width * channels;
  const __mmask16 mask = first_lanes(channels - c);
  const int64_t y = window_start(oy, w.stride_height, w.pad_top), x = window_start(ox, w.stride_width, w.pad_left);
  const __m512i fill = _mm512_set1_epi32(p.fill);
  __m512i acc[P];
  for (__m512i& a : acc) a = _mm512_setzero_si512();
  const int8_t* weights = p.weights + c;
  for (size_t ky = 0; ky < w.kernel_height; ky++) {
    const int64_t iy = y + static_cast<int64_t>(ky * w.dilation_height);
    for (size_t kx = 0; kx < w.kernel_width; kx++, weights += channels) {
      const int64_t ix = x + static_cast<int64_t>(kx * w.dilation_width);
      const __m512i weight = _mm512_cvtepi8_epi32(_mm_maskz_loadu_epi8(mask, weights));
      // The high halves are 0 or a sign times 0: a product of the low halves.
      if (iy < 0 || iy >= w.in_height || ix < 0 || ix >= w.in_width) {
        for (__m512i& a : acc) a = _mm512_dpwssd_epi32(a, fill, weight);
        continue;
      }
      const uint8_t* q = p.a + static_cast<size_t>(iy * w.in_width + ix) * channels + c;
      for (size_t i = 0; i < P; i++, q += step) {
        acc[i] = _mm512_dpwssd_epi32(acc[i], _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(mask, q)), weight);
      }
    }
  }
  const Epilogue& e = p.epilogue;
  const __m512i bias = _mm512_maskz_loadu_epi32(mask, e.bias + c);
  const __m512 multiplier = _mm512_maskz_loadu_ps(mask, e.multipliers + c);
  for (size_t i = 0; i < P; i++) {
    storer.store(e, (oy * w.out_width + ox + i) * e.pitch + c, acc[i], bias, multiplier, mask);
  }
}

void any_depthwise(const Depthwise& p) {
  const Storer storer(p.epilogue);
  const Inside whole = whole_windows(p.window);
  for (size_t c = 0; c < p.window.channels; c += kLanes) {
    for (size_t oy = p.first_line; oy < p.first_line + p.lines; oy++) {
      size_t ox = 0;
      for (; ox < whole.first; ox++) depthwise_tile<1>(p, oy, ox, c, storer);
      for (; ox + 4 <= whole.end; ox += 4) depthwise_tile<4>(p, oy, ox, c, storer);
      for (; ox < p.window.out_width; ox++) depthwise_tile<1>(p, oy, ox, c, storer);
    }
  }
}

void depthwise(const Depthwise& p) {
  if (p.window.kernel_height <= 3 && p.window.kernel_width <= 3 && p.epilogue.codes) small_depthwise(p);
  else any_depthwise(p);
}
