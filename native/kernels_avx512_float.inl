// float32 with AVX-512: tiles of 8 pixels × 32 rows, inputs broadcast from memory. Included by kernels_avx512vnni.cc.

/** `mask` has the rows of the last block, where it is not whole. */
template <int P, int NB, bool Masked>
inline void store_tile(const Epilogue& e, size_t pixel, size_t row, const __m512 (&acc)[P][NB], __mmask16 mask) {
  const __m512 low = _mm512_set1_ps(e.low), high = _mm512_set1_ps(e.high);
  for (size_t b = 0; b < NB; b++) {
    const size_t first = row + b * kLanes;
    const __mmask16 lanes = Masked && b == NB - 1 ? mask : 0xffff;
    const __m512 bias = _mm512_maskz_loadu_ps(lanes, e.float_bias + first);
    float* to = e.floats + pixel * e.pitch + first;
    const float* from = e.float_residual ? e.float_residual + pixel * e.pitch + first : nullptr;
    for (int i = 0; i < P; i++, to += e.pitch) {
      __m512 v = _mm512_add_ps(acc[i][b], bias);
      if (from) v = _mm512_add_ps(v, _mm512_maskz_loadu_ps(lanes, from + static_cast<size_t>(i) * e.pitch));
      v = _mm512_min_ps(_mm512_max_ps(v, low), high);
      if (Masked) _mm512_mask_storeu_ps(to, lanes, v);
      else _mm512_storeu_ps(to, v);
    }
  }
}

template <int P, int NB>
inline void float_tile(const FloatProduct& p, size_t pixel, size_t row) {
  __m512 acc[P][NB];
  for (auto& line : acc) for (__m512& a : line) a = _mm512_setzero_ps();
  const float* base[P];
  for (int i = 0; i < P; i++) base[i] = p.a + p.pixels[pixel + static_cast<size_t>(i)];
  for (size_t i = 0; i < P; i++) {
    const float* to = p.epilogue.floats + (pixel + i) * p.epilogue.pitch + row;
    for (size_t b = 0; b < NB; b++) __builtin_prefetch(to + b * kLanes, 1);
  }
  const float* w = p.weights + row / kLanes * p.block_floats;
  const size_t left = p.rows - row - (NB - 1) * kLanes;
  const __mmask16 mask = first_lanes(left);
  for (size_t r = 0; r < p.run_count; r++) {
    const size_t begin = p.runs[r], end = begin + p.run_length;
    for (size_t k = begin; k < end; k++, w += p.k_stride) {
      __m512 weights[NB];
      for (size_t b = 0; b < NB; b++) {
        const float* at = w + b * p.block_floats;
        weights[b] = NB == 1 ? _mm512_maskz_loadu_ps(mask, at) : _mm512_loadu_ps(at);
        _mm_prefetch(reinterpret_cast<const char*>(at) + 1024, _MM_HINT_T0);
      }
      for (int i = 0; i < P; i++) {
        const __m512 x = _mm512_set1_ps(base[i][k]);
        for (int b = 0; b < NB; b++) acc[i][b] = _mm512_fmadd_ps(x, weights[b], acc[i][b]);
      }
    }
  }
  const Epilogue& e = p.epilogue;
  if (mask == 0xffff) store_tile<P, NB, false>(e, pixel, row, acc, mask);
  else store_tile<P, NB, true>(e, pixel, row, acc, mask);
}

/** Full blocks NB at a time, then those left one at a time, for P pixels. */
template <int P, int NB>
inline void float_rows(const FloatProduct& p, size_t pixel) {
  size_t row = 0;
  for (; row + NB * kLanes <= p.rows; row += NB * kLanes) float_tile<P, NB>(p, pixel, row);
  for (; row < p.rows; row += kLanes) float_tile<P, 1>(p, pixel, row);
}

void float_product(const FloatProduct& p) {
  const size_t full = p.count / 8 * 8;
  size_t row = 0;
  for (; row + 2 * kLanes <= p.rows; row += 2 * kLanes) {
    for (size_t pixel = 0; pixel < full; pixel += 8) float_tile<8, 2>(p, pixel, row);
  }
  for (; row < p.rows; row += kLanes) {
    for (size_t pixel = 0; pixel < full; pixel += 8) float_tile<8, 1>(p, pixel, row);
  }
  size_t pixel = full;
  if (p.count - pixel >= 4) {
    float_rows<4, 4>(p, pixel);
    pixel += 4;
  }
  if (p.count - pixel >= 2) {
    float_rows<2, 4>(p, pixel);
    pixel += 2;
  }
  if (pixel < p.count) float_rows<1, 4>(p, pixel);
}

inline __m256i half_of(__m512 v) {
  const __m512 held = _mm512_min_ps(_mm512_max_ps(v, _mm512_set1_ps(-65504.0f)), _mm512_set1_ps(65504.0f));
  return _mm512_cvtps_ph(held, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

void round_to_half(float* values, size_t n) {
  for (size_t i = 0; i < n; i += 16) {
    const __mmask16 m = first_lanes(n - i);
    const __m256i half = half_of(_mm512_maskz_loadu_ps(m, values + i));
    _mm512_mask_storeu_ps(values + i, m, _mm512_cvtph_ps(half));
  }
}

void from_half(const uint16_t* in, size_t n, float* out) {
  for (size_t i = 0; i < n; i += 16) {
    const __mmask16 m = first_lanes(n - i);
    _mm512_mask_storeu_ps(out + i, m, _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(m, in + i)));
  }
}

void to_half(const float* in, size_t n, uint16_t* out) {
  for (size_t i = 0; i < n; i += 16) {
    const __mmask16 m = first_lanes(n - i);
    _mm256_mask_storeu_epi16(out + i, m, half_of(_mm512_maskz_loadu_ps(m, in + i)));
  }
}
