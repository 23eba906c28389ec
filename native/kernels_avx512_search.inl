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
    // Soon at first, for most candidates are far off; then seldom, for a sum of lanes is as dear as ten vectors.
    const size_t stretch = i < 1024 ? 256 + i : 2048;
    const size_t end = full - i < stretch ? full : i + stretch;
    for (; i < end; i += 16) lanes = _mm512_add_ps(lanes, error_of(g, _mm512_loadu_ps(w + i)));
    // Lanes only grow; the margin is above all rounding of a sum of sixteen in whatever order.
    if (_mm512_reduce_add_ps(lanes) * (1 - 1e-5f) > limit) return __builtin_inff();
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

/** Transposes 16 × 16 words. */
inline void transpose16(__m512i (&x)[16]) {
  __m512i y[16];
  for (int i = 0; i < 16; i += 2) {
    y[i] = _mm512_unpacklo_epi32(x[i], x[i + 1]);
    y[i + 1] = _mm512_unpackhi_epi32(x[i], x[i + 1]);
  }
  for (int i = 0; i < 16; i += 4) {
    x[i] = _mm512_unpacklo_epi64(y[i], y[i + 2]);
    x[i + 1] = _mm512_unpackhi_epi64(y[i], y[i + 2]);
    x[i + 2] = _mm512_unpacklo_epi64(y[i + 1], y[i + 3]);
    x[i + 3] = _mm512_unpackhi_epi64(y[i + 1], y[i + 3]);
  }
  for (int i = 0; i < 4; i++) {
    y[i] = _mm512_shuffle_i32x4(x[i], x[i + 4], 0x88);
    y[i + 4] = _mm512_shuffle_i32x4(x[i], x[i + 4], 0xdd);
    y[i + 8] = _mm512_shuffle_i32x4(x[i + 8], x[i + 12], 0x88);
    y[i + 12] = _mm512_shuffle_i32x4(x[i + 8], x[i + 12], 0xdd);
  }
  for (int i = 0; i < 8; i++) {
    x[i] = _mm512_shuffle_i32x4(y[i], y[i + 8], 0x88);
    x[i + 8] = _mm512_shuffle_i32x4(y[i], y[i + 8], 0xdd);
  }
}

void fold(const float* in, size_t in_pitch, size_t n, const double* scales, float* out, size_t pitch) {
  const __m512d low = _mm512_loadu_pd(scales), high = _mm512_loadu_pd(scales + 8);
  size_t c = 0;
  for (; c + 16 <= n; c += 16) {
    __m512i x[16];
    for (size_t i = 0; i < 16; i++) {
      const float* at = in + (c + i) * in_pitch;
      const __m256 a = _mm512_cvtpd_ps(_mm512_mul_pd(_mm512_cvtps_pd(_mm256_loadu_ps(at)), low));
      const __m256 b = _mm512_cvtpd_ps(_mm512_mul_pd(_mm512_cvtps_pd(_mm256_loadu_ps(at + 8)), high));
      x[i] = _mm512_castps_si512(_mm512_insertf32x8(_mm512_castps256_ps512(a), b, 1));
    }
    transpose16(x);
    for (size_t r = 0; r < 16; r++) _mm512_storeu_si512(out + r * pitch + c, x[r]);
  }
  generic_fold(in + c * in_pitch, in_pitch, n - c, scales, out + c, pitch);
}

void turn(const uint32_t* in, size_t in_pitch, size_t n, uint32_t* out) {
  size_t c = 0;
  for (; c + 16 <= n; c += 16) {
    __m512i x[16];
    for (size_t r = 0; r < 16; r++) x[r] = _mm512_loadu_si512(in + r * in_pitch + c);
    transpose16(x);
    for (size_t i = 0; i < 16; i++) _mm512_storeu_si512(out + (c + i) * 16, x[i]);
  }
  generic_turn(in + c, in_pitch, n - c, out + c * 16);
}
