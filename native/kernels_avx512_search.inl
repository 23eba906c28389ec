// The loops of the scale search with AVX-512: a vector is just the sixteen lanes that the arithmetic asks for.
// Included by kernels_avx512vnni.cc, after kernels_avx512_float.inl.

struct Grid {
  __m512 scale, inverse, low, high;

  Grid(float s, int bits)
      : scale(_mm512_set1_ps(s)),
        inverse(_mm512_set1_ps(1.0f / s)),
        low(_mm512_set1_ps(-static_cast<float>(1 << (bits - 1)))),
        high(_mm512_set1_ps(static_cast<float>((1 << (bits - 1)) - 1))) {}

  __m512 code(__m512 w) const {
    const __m512 v = _mm512_min_ps(_mm512_max_ps(_mm512_mul_ps(w, inverse), low), high);
    return _mm512_roundscale_ps(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  }
};

inline __m512 error_of(const Grid& g, __m512 w) {
  const __m512 d = _mm512_sub_ps(w, _mm512_mul_ps(g.code(w), g.scale));
  return _mm512_mul_ps(d, d);
}

float squared_error(const float* w, size_t n, float scale, int bits, float limit) {
  const Grid g(scale, bits);
  __m512 lanes = _mm512_setzero_ps();
  size_t i = 0;
  const size_t full = n / 16 * 16;
  while (i < full) {
    const size_t end = full - i < 512 ? full : i + 512;
    for (; i < end; i += 16) lanes = _mm512_add_ps(lanes, error_of(g, _mm512_loadu_ps(w + i)));
    // Lanes only grow; the margin is above all rounding of a sum of sixteen in whatever order.
    if (_mm512_reduce_add_ps(lanes) * (1 - 1e-5f) > limit) return limit;
  }
  if (i < n) lanes = _mm512_add_ps(lanes, error_of(g, _mm512_maskz_loadu_ps(first_lanes(n - i), w + i)));
  alignas(64) float each[16];
  _mm512_store_ps(each, lanes);
  float sum = 0;
  for (float lane : each) sum = sum + lane;
  return sum;
}

void moments(const float* w, size_t n, float scale, int bits, double* numerator, double* denominator) {
  const Grid g(scale, bits);
  __m512d num[2] = {_mm512_setzero_pd(), _mm512_setzero_pd()}, den[2] = {num[0], num[0]};
  for (size_t i = 0; i < n; i += 16) {
    const __m512 x = _mm512_maskz_loadu_ps(first_lanes(n - i), w + i);
    const __m512 code = g.code(x);
    for (int h = 0; h < 2; h++) {
      const __m512d xd = _mm512_cvtps_pd(h ? _mm512_extractf32x8_ps(x, 1) : _mm512_castps512_ps256(x));
      const __m512d cd = _mm512_cvtps_pd(h ? _mm512_extractf32x8_ps(code, 1) : _mm512_castps512_ps256(code));
      // The products are exact, so a fused addition rounds as two steps do.
      num[h] = _mm512_fmadd_pd(xd, cd, num[h]);
      den[h] = _mm512_fmadd_pd(cd, cd, den[h]);
    }
  }
  alignas(64) double nums[16], dens[16];
  for (int h = 0; h < 2; h++) {
    _mm512_store_pd(nums + 8 * h, num[h]);
    _mm512_store_pd(dens + 8 * h, den[h]);
  }
  *numerator = *denominator = 0;
  for (int l = 0; l < 16; l++) {
    *numerator = *numerator + nums[l];
    *denominator = *denominator + dens[l];
  }
}

void codes(const float* w, size_t n, float scale, int bits, int8_t* out) {
  const Grid g(scale, bits);
  for (size_t i = 0; i < n; i += 16) {
    const __mmask16 m = first_lanes(n - i);
    const __m512i code = _mm512_cvtps_epi32(g.code(_mm512_maskz_loadu_ps(m, w + i)));
    _mm512_mask_cvtepi32_storeu_epi8(out + i, m, code);
  }
}
