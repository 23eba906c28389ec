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
  __m512d num[2] = {_mm512_setzero_pd(), _mm512_setzero_pd()};
  *numerator = *denominator = 0;
  // The squares are whole numbers, and a stretch's sums of them below 2^24: exact in float32 too, in whatever order.
  for (size_t begin = 0; begin < n; begin += 16384) {
    const size_t end = n - begin < 16384 ? n : begin + 16384;
    __m512 squares = _mm512_setzero_ps();
    for (size_t i = begin; i < end; i += 16) {
      const __m512 x = _mm512_maskz_loadu_ps(first_lanes(end - i), w + i);
      const __m512 code = g.code(x);
      squares = _mm512_fmadd_ps(code, code, squares);
      for (int h = 0; h < 2; h++) {
        const __m512d xd = _mm512_cvtps_pd(h ? _mm512_extractf32x8_ps(x, 1) : _mm512_castps512_ps256(x));
        const __m512d cd = _mm512_cvtps_pd(h ? _mm512_extractf32x8_ps(code, 1) : _mm512_castps512_ps256(code));
        // The product is exact, so a fused addition rounds as two steps do.
        num[h] = _mm512_fmadd_pd(xd, cd, num[h]);
      }
    }
    alignas(64) float each[16];
    _mm512_store_ps(each, squares);
    for (const float lane : each) *denominator = *denominator + static_cast<double>(lane);
  }
  alignas(64) double nums[16];
  for (int h = 0; h < 2; h++) _mm512_store_pd(nums + 8 * h, num[h]);
  for (const double lane : nums) *numerator = *numerator + lane;
}

CodeSums codes(const float* w, size_t n, float scale, int bits, int8_t* out) {
  const Grid g(scale, bits);
  CodeSums sums = {};
  for (size_t begin = 0; begin < n; begin += 65536) {
    const size_t end = n - begin < 65536 ? n : begin + 65536;
    __m512i sum = _mm512_setzero_si512(), size = sum;
    for (size_t i = begin; i < end; i += 16) {
      const __mmask16 m = first_lanes(end - i);
      const __m512i code = _mm512_cvtps_epi32(g.code(_mm512_maskz_loadu_ps(m, w + i)));
      _mm512_mask_cvtepi32_storeu_epi8(out + i, m, code);
      sum = _mm512_add_epi32(sum, code);
      size = _mm512_add_epi32(size, _mm512_abs_epi32(code));
    }
    sums.sum += _mm512_reduce_add_epi32(sum);
    sums.size += _mm512_reduce_add_epi32(size);
  }
  return sums;
}

float bins(const float* w, size_t n, float least, float density, uint16_t* out) {
  const __m512 from = _mm512_set1_ps(least), times = _mm512_set1_ps(density), half = _mm512_set1_ps(0.5f);
  __m512 sum = _mm512_setzero_ps();
  for (size_t i = 0; i < n; i += 16) {
    const __mmask16 m = first_lanes(n - i);
    const __m512 at = _mm512_mul_ps(_mm512_sub_ps(_mm512_maskz_loadu_ps(m, w + i), from), times);
    const __m512i bin = _mm512_cvttps_epi32(at);
    const __m512 off = _mm512_sub_ps(_mm512_sub_ps(at, _mm512_cvtepi32_ps(bin)), half);
    _mm512_mask_cvtepi32_storeu_epi16(out + i, m, bin);
    sum = _mm512_mask3_fmadd_ps(off, off, sum, m);
  }
  return _mm512_reduce_add_ps(sum);
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

bool fold(const float* in, size_t in_pitch, size_t n, size_t rows, const double* scales, float* out, size_t pitch,
          float* least, float* greatest) {
  __m512 zeros = _mm512_setzero_ps();
  size_t c = 0;
  for (; c + 16 <= n; c += 16) {
    // The next sixteen lines are of pages of their own where there are many rows, which no hardware foresees.
    for (size_t i = c + 16; i < c + 32 && i < n; i++) {
      const float* const line = in + i * in_pitch;
      for (size_t r = 0; r < rows; r += 16) _mm_prefetch(reinterpret_cast<const char*>(line + r), _MM_HINT_T0);
      _mm_prefetch(reinterpret_cast<const char*>(line + rows - 1), _MM_HINT_T0);
    }
    for (size_t r = 0; r < rows; r += 16) {
      const __m512d low = _mm512_loadu_pd(scales + r), high = _mm512_loadu_pd(scales + r + 8);
      __m512 lows = _mm512_loadu_ps(least + r), highs = _mm512_loadu_ps(greatest + r);
      __m512i x[16];
      for (size_t i = 0; i < 16; i++) {
        const float* at = in + (c + i) * in_pitch + r;
        const __m256 a = _mm512_cvtpd_ps(_mm512_mul_pd(_mm512_cvtps_pd(_mm256_loadu_ps(at)), low));
        const __m256 b = _mm512_cvtpd_ps(_mm512_mul_pd(_mm512_cvtps_pd(_mm256_loadu_ps(at + 8)), high));
        const __m512 line = _mm512_insertf32x8(_mm512_castps256_ps512(a), b, 1);
        lows = _mm512_min_ps(line, lows);
        highs = _mm512_max_ps(line, highs);
        zeros = _mm512_fmadd_ps(line, _mm512_setzero_ps(), zeros);
        x[i] = _mm512_castps_si512(line);
      }
      _mm512_storeu_ps(least + r, lows);
      _mm512_storeu_ps(greatest + r, highs);
      transpose16(x);
      for (size_t i = 0; i < 16; i++) _mm512_storeu_si512(out + (r + i) * pitch + c, x[i]);
    }
  }
  const bool finite = _mm512_cmp_ps_mask(zeros, _mm512_setzero_ps(), _CMP_EQ_OQ) == 0xffff;
  return generic_fold(in + c * in_pitch, in_pitch, n - c, rows, scales, out + c, pitch, least, greatest) && finite;
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
