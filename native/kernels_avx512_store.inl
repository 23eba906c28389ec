// What becomes of sums, with AVX-512. Included by kernels_avx512vnni.cc.

inline __mmask16 first_lanes(size_t n) { return n >= 16 ? 0xffff : static_cast<__mmask16>((1u << n) - 1); }

/** Sixteen sums to what is stored; `mask` has the lanes that are rows. */
struct Storer {
  __m512 low, high, residual_multiplier;
  __m512i out_zero, residual_zero;
  /** For whole tiles: the zero point in 16 bits, the least code, and the order that undoes the packing by lanes. */
  __m512i zero16, low8, order;

  explicit Storer(const Epilogue& e)
      : low(_mm512_set1_ps(e.low)),
        high(_mm512_set1_ps(e.high)),
        residual_multiplier(_mm512_set1_ps(e.residual_multiplier)),
        out_zero(_mm512_set1_epi32(e.out_zero)),
        residual_zero(_mm512_set1_epi32(e.residual_zero)),
        zero16(_mm512_set1_epi16(static_cast<int16_t>(e.out_zero))),
        low8(_mm512_set1_epi8(e.codes ? static_cast<char>(static_cast<int32_t>(e.low) + e.out_zero) : 0)),
        order(_mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15)) {}

  __m512 value(const Epilogue& e, size_t at, __m512i sum, __m512i bias, __m512 multiplier, __mmask16 mask) const {
    __m512 v = _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_add_epi32(sum, bias)), multiplier);
    if (e.residual) {
      const __m512i q = _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(mask, e.residual + at));
      const __m512 r = _mm512_cvtepi32_ps(_mm512_sub_epi32(q, residual_zero));
      v = _mm512_add_ps(v, _mm512_mul_ps(r, residual_multiplier));
    }
    return _mm512_min_ps(_mm512_max_ps(v, low), high);
  }

  /** Sixteen sums with their bias in them to codes without zero point, held only from above. */
  template <bool Residual>
  __m512i rounded(__m512i sum, __m512 multiplier, const uint8_t* residual) const {
    __m512 v = _mm512_mul_ps(_mm512_cvtepi32_ps(sum), multiplier);
    if (Residual) {
      const __m512i q = _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(residual)));
      const __m512 r = _mm512_cvtepi32_ps(_mm512_sub_epi32(q, residual_zero));
      v = _mm512_add_ps(v, _mm512_mul_ps(r, residual_multiplier));
    }
    return _mm512_cvtps_epi32(_mm512_min_ps(v, high));
  }

  /** Four times sixteen of them to codes, one after the other. */
  __m512i joined(const __m512i (&q)[4]) const {
    const __m512i low16 = _mm512_adds_epi16(_mm512_packs_epi32(q[0], q[1]), zero16);
    const __m512i high16 = _mm512_adds_epi16(_mm512_packs_epi32(q[2], q[3]), zero16);
    const __m512i mixed = _mm512_max_epu8(_mm512_packus_epi16(low16, high16), low8);
    return _mm512_permutexvar_epi32(order, mixed);
  }

  /**
   * A tile of whole blocks, the bias already in its sums: four vectors of 16 sums become 64 bytes at a time. Below, packing
   * saturates; bounds are whole numbers (loader.cc), so it is all the same whether they act before or after rounding.
   */
  template <int P, int NB, bool Residual>
  void store_codes(const Epilogue& e, size_t pixel, size_t row, const __m512i (&acc)[P][NB]) const {
    __m512 multipliers[NB];
    for (size_t b = 0; b < NB; b++) multipliers[b] = _mm512_loadu_ps(e.multipliers + row + b * kLanes);
    const size_t first = pixel * e.pitch + row;
    const auto place = [&](int v) { return first + static_cast<size_t>(v / NB) * e.pitch + v % NB * kLanes; };
#pragma GCC unroll 16
    for (int v = 0; v < P * NB; v += 4) {
      __m512i q[4];
#pragma GCC unroll 4
      for (int i = 0; i < 4; i++) {
        const int at = v + i < P * NB ? v + i : v;
        q[i] = rounded<Residual>(acc[at / NB][at % NB], multipliers[at % NB], e.residual + place(at));
      }
      const __m512i codes = joined(q);
      if (NB == 4) {
        _mm512_storeu_si512(e.codes + place(v), codes);
      } else if (NB == 2) {
        store_half(e.codes + place(v), _mm512_castsi512_si256(codes));
        if (v + 2 < P * NB) store_half(e.codes + place(v + 2), _mm512_extracti64x4_epi64(codes, 1));
      } else {
        store_quarter(e.codes + place(v), _mm512_castsi512_si128(codes));
        if (v + 1 < P * NB) store_quarter(e.codes + place(v + 1), _mm512_extracti32x4_epi32(codes, 1));
        if (v + 2 < P * NB) store_quarter(e.codes + place(v + 2), _mm512_extracti32x4_epi32(codes, 2));
        if (v + 3 < P * NB) store_quarter(e.codes + place(v + 3), _mm512_extracti32x4_epi32(codes, 3));
      }
    }
  }

  static void store_half(uint8_t* to, __m256i codes) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), codes); }
  static void store_quarter(uint8_t* to, __m128i codes) { _mm_storeu_si128(reinterpret_cast<__m128i*>(to), codes); }

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
