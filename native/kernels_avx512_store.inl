// What becomes of sums, with AVX-512. Included by kernels_avx512vnni.cc.

/** Sixteen sums to what is stored; `mask` has the lanes that are rows. */
struct Storer {
  __m512 low, high, residual_multiplier;
  __m512i out_zero, residual_zero;

  explicit Storer(const Epilogue& e)
      : low(_mm512_set1_ps(e.low)),
        high(_mm512_set1_ps(e.high)),
        residual_multiplier(_mm512_set1_ps(e.residual_multiplier)),
        out_zero(_mm512_set1_epi32(e.out_zero)),
        residual_zero(_mm512_set1_epi32(e.residual_zero)) {}

  __m512 value(const Epilogue& e, size_t at, __m512i sum, __m512i bias, __m512 multiplier, __mmask16 mask) const {
    __m512 v = _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_add_epi32(sum, bias)), multiplier);
    if (e.residual) {
      const __m512i q = _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(mask, e.residual + at));
      const __m512 r = _mm512_cvtepi32_ps(_mm512_sub_epi32(q, residual_zero));
      v = _mm512_add_ps(v, _mm512_mul_ps(r, residual_multiplier));
    }
    return _mm512_min_ps(_mm512_max_ps(v, low), high);
  }

  /** A tile of whole blocks: nothing is asked more than once. */
  template <int P, int NB, bool Residual>
  void store_codes(const Epilogue& e, size_t pixel, size_t row, const __m512i (&acc)[P][NB]) const {
    for (size_t b = 0; b < NB; b++) {
      const size_t at = row + b * kLanes;
      const __m512i bias = _mm512_loadu_si512(e.bias + at);
      const __m512 multiplier = _mm512_loadu_ps(e.multipliers + at);
      uint8_t* to = e.codes + pixel * e.pitch + at;
      const uint8_t* from = Residual ? e.residual + pixel * e.pitch + at : nullptr;
      for (int i = 0; i < P; i++, to += e.pitch) {
        __m512 v = _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_add_epi32(acc[i][b], bias)), multiplier);
        if (Residual) {
          const __m512i q = _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
          const __m512 r = _mm512_cvtepi32_ps(_mm512_sub_epi32(q, residual_zero));
          v = _mm512_add_ps(v, _mm512_mul_ps(r, residual_multiplier));
          from += e.pitch;
        }
        const __m512i q = _mm512_cvtps_epi32(_mm512_min_ps(_mm512_max_ps(v, low), high));
        _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm512_cvtepi32_epi8(_mm512_add_epi32(q, out_zero)));
      }
    }
  }

  void store(const Epilogue& e, size_t at, __m512i sum, __m512i bias, __m512 multiplier, __mmask16 mask) const {
    const __m512 v = value(e, at, sum, bias, multiplier, mask);
    if (e.floats) {
      _mm512_mask_storeu_ps(e.floats + at, mask, v);
      return;
    }
    const __m512i q = _mm512_add_epi32(_mm512_cvtps_epi32(v), out_zero);
    if (mask == 0xffff) _mm_storeu_si128(reinterpret_cast<__m128i*>(e.codes + at), _mm512_cvtepi32_epi8(q));
    else _mm512_mask_cvtepi32_storeu_epi8(e.codes + at, mask, q);
  }
};
