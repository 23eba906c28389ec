// Winograd F(2×2, 3×3) with AVX-512 (winograd.h says what of). Included by kernels_avx512vnni.cc.

/** in: four times four pixels of 64 channels; out: [position][tile][channel]. */
void winograd_inputs(const WinogradInputs& w) {
  const __m512i offset = _mm512_set1_epi8(static_cast<char>(w.offset));
  for (size_t t = 0; t < w.count; t++) {
    // The last step of a tile may write into the next tile, which is yet to come, or into the room between positions.
    for (size_t c = 0; c < w.channels; c += 64) {
      const uint8_t* from = w.a + w.tiles[t].patch + c;
      uint8_t* to = w.out + t * w.channels + c;
      __m512i x[4][4];
      for (size_t j = 0; j < 4; j++) {
        const uint8_t* q = from + j * w.channels;
        const __m512i a = _mm512_loadu_si512(q), b = _mm512_loadu_si512(q + w.row);
        const __m512i d = _mm512_loadu_si512(q + 2 * w.row), e = _mm512_loadu_si512(q + 3 * w.row);
        x[0][j] = _mm512_sub_epi8(a, d), x[1][j] = _mm512_add_epi8(b, d);
        x[2][j] = _mm512_sub_epi8(d, b), x[3][j] = _mm512_sub_epi8(b, e);
      }
      for (size_t i = 0; i < 4; i++) {
        const __m512i* r = x[i];
        const __m512i y[4] = {_mm512_sub_epi8(r[0], r[2]), _mm512_add_epi8(r[1], r[2]), _mm512_sub_epi8(r[2], r[1]),
                              _mm512_sub_epi8(r[1], r[3])};
        for (size_t j = 0; j < 4; j++) {
          _mm512_storeu_si512(to + (i * 4 + j) * w.pitch, i * j == 1 ? y[j] : _mm512_add_epi8(y[j], offset));
        }
      }
    }
  }
}

template <typename Add, typename Sub>
inline void winograd_axis(const __m512i& a, const __m512i& b, const __m512i& c, __m512i* to, Add add, Sub sub) {
  const __m512i s = add(a, c);
  to[0] = a, to[1] = add(s, b), to[2] = sub(s, b), to[3] = c;
}

/** Nine vectors, [y][x], to sixteen, one row of four at a time: take(row, its four). */
template <typename Add, typename Sub, typename Take>
inline void winograd_transform(const __m512i (&g)[3][3], Add add, Sub sub, Take take) {
  __m512i columns[3][4];
  for (size_t x = 0; x < 3; x++) winograd_axis(g[0][x], g[1][x], g[2][x], columns[x], add, sub);
  for (size_t i = 0; i < 4; i++) {
    __m512i row[4];
    winograd_axis(columns[0][i], columns[1][i], columns[2][i], row, add, sub);
    take(i, row);
  }
}

/** out: [position][group][block][64]; start: [position][block][16], what the inputs' offset is to be made up with. */
void winograd_weights(const WinogradWeights& w) {
  const auto add8 = [](__m512i a, __m512i b) { return _mm512_add_epi8(a, b); };
  const auto sub8 = [](__m512i a, __m512i b) { return _mm512_sub_epi8(a, b); };
  const auto add32 = [](__m512i a, __m512i b) { return _mm512_add_epi32(a, b); };
  const auto sub32 = [](__m512i a, __m512i b) { return _mm512_sub_epi32(a, b); };
  const Unpacker u(w.bits);
  const __m512i ones = _mm512_set1_epi8(1), minus = _mm512_set1_epi32(-w.offset);
  const size_t groups = w.channels / 4, tap = groups * 8 * static_cast<size_t>(w.bits);
  for (size_t b = 0; b < w.blocks; b++) {
    const uint8_t* from = w.packed + b * w.block_bytes;
    int8_t* out = w.out + b * 64;
    __m512i sums[3][3];
    for (auto& line : sums) for (__m512i& s : line) s = _mm512_setzero_si512();
    for (size_t g = 0; g < groups; g++, from += 8 * static_cast<size_t>(w.bits), out += w.blocks * 64) {
      __m512i codes[3][3];
      for (size_t y = 0; y < 3; y++) {
        for (size_t x = 0; x < 3; x++) {
          codes[y][x] = u.codes(from + (y * 3 + x) * tap);
          sums[y][x] = _mm512_dpbusd_epi32(sums[y][x], ones, codes[y][x]);
        }
      }
      winograd_transform(codes, add8, sub8, [&](size_t i, const __m512i* row) {
        for (size_t j = 0; j < 4; j++) _mm512_store_si512(out + (i * 4 + j) * w.pitch, row[j]);
      });
    }
    winograd_transform(sums, add32, sub32, [&](size_t i, const __m512i* row) {
      for (size_t j = 0; j < 4; j++) {
        const __m512i start = i * j == 1 ? _mm512_setzero_si512() : _mm512_mullo_epi32(row[j], minus);
        _mm512_store_si512(w.start + ((i * 4 + j) * w.blocks + b) * kLanes, start);
      }
    });
  }
}

/** Elements from a position's sums to the next: off the power of two, or they would share cache sets. */
template <int P, int NB>
constexpr size_t kSumPitch = P * NB * kLanes + kLanes;

/** Sixteen products of P tiles × NB blocks; sums: [position][P][NB][16] */
template <int P, int NB>
inline void winograd_multiply(const WinogradProduct& p, int32_t* sums) {
  for (size_t s = 0; s < 16; s++, sums += kSumPitch<P, NB>) {
    __m512i acc[P][NB];
    for (size_t b = 0; b < NB; b++) {
      const __m512i start = _mm512_load_si512(p.start + (s * NB + b) * kLanes);
      for (int i = 0; i < P; i++) acc[i][b] = start;
    }
    const uint8_t* a = p.in + s * p.in_pitch;
    const int8_t* w = p.weights + s * p.weight_pitch;
    for (size_t k = 0; k < p.channels; k += 4, w += NB * 64) {
      __m512i weights[NB];
      for (size_t b = 0; b < NB; b++) weights[b] = _mm512_load_si512(w + b * 64);
      for (int i = 0; i < P; i++) {
        const __m512i q = broadcast4(a + static_cast<size_t>(i) * p.channels + k);
        for (int b = 0; b < NB; b++) acc[i][b] = _mm512_dpbusd_epi32(acc[i][b], q, weights[b]);
      }
    }
    for (int i = 0; i < P; i++) {
      for (int b = 0; b < NB; b++) _mm512_store_si512(sums + (i * NB + b) * static_cast<int>(kLanes), acc[i][b]);
    }
  }
}

/** Sums to codes. */
template <int P, int NB, bool Residual>
inline void winograd_outputs(const WinogradProduct& p, const Storer& storer, const int32_t* sums) {
  const Epilogue& e = p.epilogue;
  const auto axis = [](__m512i a, __m512i b, __m512i c, __m512i d, __m512i& even, __m512i& odd) {
    even = _mm512_add_epi32(_mm512_add_epi32(_mm512_slli_epi32(a, 1), b), c);
    odd = _mm512_sub_epi32(_mm512_sub_epi32(b, c), _mm512_slli_epi32(d, 1));
  };
  for (size_t b = 0; b < NB; b++) {
    const __m512i bias = _mm512_loadu_si512(e.bias + b * kLanes);
    const __m512 multiplier = _mm512_loadu_ps(e.multipliers + b * kLanes);
    for (size_t i = 0; i < P; i++) {
      const int32_t* m = sums + (i * NB + b) * kLanes;
      const auto at = [&](size_t y, size_t x) { return _mm512_load_si512(m + (y * 4 + x) * kSumPitch<P, NB>); };
      __m512i x[2][4], out[2][2];
      for (size_t j = 0; j < 4; j++) axis(at(0, j), at(1, j), at(2, j), at(3, j), x[0][j], x[1][j]);
      for (size_t y = 0; y < 2; y++) axis(x[y][0], x[y][1], x[y][2], x[y][3], out[y][0], out[y][1]);
      const WinogradTile& tile = p.tiles[i];
      for (size_t y = 0; y < tile.rows; y++) {
        for (size_t x = 0; x < tile.columns; x++) {
          const size_t to = (tile.pixel + y * p.out_width + x) * e.pitch + b * kLanes;
          const __m512i sum = _mm512_add_epi32(_mm512_srai_epi32(out[y][x], 2), bias);
          __m512 v = _mm512_mul_ps(_mm512_cvtepi32_ps(sum), multiplier);
          if (Residual) {
            const __m512i q = _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(e.residual + to)));
            const __m512 r = _mm512_cvtepi32_ps(_mm512_sub_epi32(q, storer.residual_zero));
            v = _mm512_add_ps(v, _mm512_mul_ps(r, storer.residual_multiplier));
          }
          const __m512i q = _mm512_cvtps_epi32(_mm512_min_ps(_mm512_max_ps(v, storer.low), storer.high));
          _mm_storeu_si128(reinterpret_cast<__m128i*>(e.codes + to),
                           _mm512_cvtepi32_epi8(_mm512_add_epi32(q, storer.out_zero)));
        }
      }
    }
  }
}

template <int P, int NB>
void winograd_tiles(const WinogradProduct& p, const Storer& storer) {
  alignas(64) int32_t sums[16 * kSumPitch<P, NB>];
  winograd_multiply<P, NB>(p, sums);
  if (p.epilogue.residual) winograd_outputs<P, NB, true>(p, storer, sums);
  else winograd_outputs<P, NB, false>(p, storer, sums);
}

template <int NB>
void winograd_blocks(const WinogradProduct& p) {
  const Storer storer(p.epilogue);
  switch (p.count) {
    case 1: return winograd_tiles<1, NB>(p, storer);
    case 2: return winograd_tiles<2, NB>(p, storer);
    case 3: return winograd_tiles<3, NB>(p, storer);
    case 4: return winograd_tiles<4, NB>(p, storer);
  }
  if constexpr (NB <= 2) {
    switch (p.count) {
      case 5: return winograd_tiles<5, NB>(p, storer);
      case 6: return winograd_tiles<6, NB>(p, storer);
      case 7: return winograd_tiles<7, NB>(p, storer);
      case 8: return winograd_tiles<8, NB>(p, storer);
    }
  }
}

void winograd_product(const WinogradProduct& p) {
  if (p.blocks == 1) winograd_blocks<1>(p);
  else if (p.blocks == 2) winograd_blocks<2>(p);
  else winograd_blocks<4>(p);
}

constexpr WinogradKernels kWinograd = {winograd_inputs, winograd_weights, winograd_product};
