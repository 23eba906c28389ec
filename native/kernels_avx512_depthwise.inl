// Depthwise convolution with AVX-512 VNNI. Included by kernels_avx512vnni.cc.

/** 16 channels at a time, four pixels for each load of a weight. */
template <int P>
inline void depthwise_tile(const Depthwise& p, size_t pixel, size_t row, const Storer& storer) {
  const size_t left = p.rows - row;
  const __mmask16 mask = left >= kLanes ? 0xffff : static_cast<__mmask16>((1u << left) - 1);
  __m512i acc[P];
  for (__m512i& a : acc) a = _mm512_setzero_si512();
  for (size_t t = 0; t < p.tap_count; t++) {
    const __m128i codes = _mm_maskz_loadu_epi8(mask, p.weights + t * p.row_pitch + row);
    const __m512i w = _mm512_cvtepi8_epi32(codes);
    for (int i = 0; i < P; i++) {
      const uint8_t* q = p.a + p.pixels[pixel + static_cast<size_t>(i)] + p.taps[t] + row;
      const __m512i x = _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(mask, q));
      // The high halves are 0 or a sign times 0: a product of the low halves.
      acc[i] = _mm512_dpwssd_epi32(acc[i], x, w);
    }
  }
  const Epilogue& e = p.epilogue;
  const __m512i bias = _mm512_maskz_loadu_epi32(mask, e.bias + row);
  const __m512 multiplier = _mm512_maskz_loadu_ps(mask, e.multipliers + row);
  for (int i = 0; i < P; i++) {
    storer.store(e, (pixel + static_cast<size_t>(i)) * e.pitch + row, acc[i], bias, multiplier, mask);
  }
}

void depthwise(const Depthwise& p) {
  const Storer storer(p.epilogue);
  for (size_t row = 0; row < p.rows; row += kLanes) {
    size_t pixel = 0;
    for (; pixel + 4 <= p.count; pixel += 4) depthwise_tile<4>(p, pixel, row, storer);
    for (; pixel < p.count; pixel++) depthwise_tile<1>(p, pixel, row, storer);
  }
}
