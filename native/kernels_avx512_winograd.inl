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

/** a, a + b + c, a - b + c, c of bytes. */
inline void winograd_axis(__m512i a, __m512i b, __m512i c, __m512i* to) {
  const __m512i s = _mm512_add_epi8(a, c);
  to[0] = a, to[1] = _mm512_add_epi8(s, b), to[2] = _mm512_sub_epi8(s, b), to[3] = c;
}

/**
 * out: [position][group][block][64]. start: [position][block][16], what makes up for the inputs' offset: it is added at
 * every position but 1,1, whose sum all four outputs have, and the corners have one each, times ±4.
 */
void winograd_weights(const WinogradWeights& w) {
  const Unpacker u(w.bits);
  const __m512i ones = _mm512_set1_epi8(1), offset = _mm512_set1_epi32(w.offset);
  const size_t groups = w.channels / 4, step = 8 * static_cast<size_t>(w.bits), tap = groups * step;
  const size_t pitch = w.pitch, next = w.blocks * 64;
  std::memset(w.start, 0, 16 * w.blocks * kLanes * sizeof(int32_t));
  for (size_t b = 0; b < w.blocks; b++) {
    const uint8_t* from = w.packed + b * w.block_bytes;
    int8_t* out = w.out + b * 64;
    // Σ(2·g0 + g2) and Σ(g1 - g2) of each row of the kernel, and Σ of all nine.
    __m512i even[3], odd[3], all = _mm512_setzero_si512();
    for (size_t y = 0; y < 3; y++) even[y] = odd[y] = _mm512_setzero_si512();
    for (size_t g = 0; g < groups; g++, from += step, out += next) {
      __m512i rows[3][4];
      for (size_t y = 0; y < 3; y++) {
        const uint8_t* at = from + y * 3 * tap;
        const __m512i x = u.codes(at), y1 = u.codes(at + tap), z = u.codes(at + 2 * tap);
        even[y] = _mm512_dpbusd_epi32(even[y], ones, _mm512_add_epi8(_mm512_add_epi8(x, x), z));
        odd[y] = _mm512_dpbusd_epi32(odd[y], ones, _mm512_sub_epi8(y1, z));
        winograd_axis(x, y1, z, rows[y]);
        // Nine streams are more than the processor foresees.
        for (size_t t = 0; t < 3; t++) _mm_prefetch(reinterpret_cast<const char*>(at + t * tap + 8 * step), _MM_HINT_T0);
      }
      for (size_t j = 0; j < 4; j++) {
        __m512i column[4];
        winograd_axis(rows[0][j], rows[1][j], rows[2][j], column);
        if (j == 1) all = _mm512_dpbusd_epi32(all, ones, column[1]);
        for (size_t i = 0; i < 4; i++) _mm512_store_si512(out + (i * 4 + j) * pitch, column[i]);
      }
    }
    const auto start = [&](size_t position, __m512i sum) {
      _mm512_store_si512(w.start + (position * w.blocks + b) * kLanes, _mm512_mullo_epi32(sum, offset));
    };
    const auto ends = [](const __m512i* s) { return _mm512_add_epi32(_mm512_add_epi32(s[0], s[0]), s[2]); };
    start(0, _mm512_sub_epi32(_mm512_setzero_si512(), ends(even)));
    start(3, ends(odd));
    start(5, all);
    start(12, _mm512_sub_epi32(even[1], even[2]));
    start(15, _mm512_sub_epi32(odd[2], odd[1]));
  }
}

/**
 * Sums of up to 8 tiles × 2 blocks or 4 × 4 at 16 positions, a square of vectors: while those of a group of tiles are
 * taken out column by column, those of the next move in, transposed.
 */
struct WinogradSums {
  /** Elements from a row of the square to the next: off the power of two, or they would share cache sets. */
  static constexpr size_t kPitch = 17 * kLanes;
  alignas(64) int32_t sums[16 * kPitch];
  /** From a position to the next, and from a tile's block to the next. */
  size_t position = kPitch, part = kLanes;
  const WinogradTile* tiles = nullptr;
  size_t parts = 0;
};

/** One tile's block of sums to codes. */
template <int NB, bool Residual>
inline void winograd_output(const WinogradProduct& p, const Storer& storer, const WinogradSums& m, size_t part) {
  const Epilogue& e = p.epilogue;
  const int32_t* sums = m.sums + part * m.part;
  const size_t row = part % NB * kLanes;
  const WinogradTile& tile = m.tiles[part / NB];
  const auto at = [&](size_t i) { return _mm512_load_si512(sums + i * m.position); };
  __m512i even[4], odd[4];
  const auto axis = [](__m512i a, __m512i b, __m512i c, __m512i d, __m512i& first, __m512i& second) {
    first = _mm512_add_epi32(_mm512_add_epi32(_mm512_slli_epi32(a, 1), b), c);
    second = _mm512_sub_epi32(_mm512_sub_epi32(b, c), _mm512_slli_epi32(d, 1));
  };
  for (size_t j = 0; j < 4; j++) axis(at(j), at(4 + j), at(8 + j), at(12 + j), even[j], odd[j]);
  __m512i out[4];
  axis(even[0], even[1], even[2], even[3], out[0], out[1]);
  axis(odd[0], odd[1], odd[2], odd[3], out[2], out[3]);
  const __m512i bias = _mm512_loadu_si512(e.bias + row);
  const __m512 multiplier = _mm512_loadu_ps(e.multipliers + row);
  const auto store = [&](size_t i) {
    const size_t to = (tile.pixel + i / 2 * p.out_width + i % 2) * e.pitch + row;
    const __m512i sum = _mm512_add_epi32(_mm512_srai_epi32(out[i], 2), bias);
    __m512 v = _mm512_mul_ps(_mm512_cvtepi32_ps(sum), multiplier);
    if (Residual) {
      const __m512i q = _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(e.residual + to)));
      const __m512 r = _mm512_cvtepi32_ps(_mm512_sub_epi32(q, storer.residual_zero));
      v = _mm512_add_ps(v, _mm512_mul_ps(r, storer.residual_multiplier));
    }
    const __m512i q = _mm512_cvtps_epi32(_mm512_min_ps(_mm512_max_ps(v, storer.low), storer.high));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(e.codes + to),
                     _mm512_cvtepi32_epi8(_mm512_add_epi32(q, storer.out_zero)));
  };
  store(0);
  if (tile.columns > 1) store(1);
  if (tile.rows > 1) store(2);
  if (tile.columns > 1 && tile.rows > 1) store(3);
}

/** Sixteen products of P tiles × NB blocks; between them the tiles before become codes. */
template <int P, int NB, bool Residual>
void winograd_multiply(const WinogradProduct& p, const WinogradGroup& group, const Storer& storer, WinogradSums& m) {
  const size_t channels = p.channels;
  for (size_t s = 0; s < 16; s++) {
    if (s < m.parts) winograd_output<NB, Residual>(p, storer, m, s);
    __m512i acc[P][NB];
    for (size_t b = 0; b < NB; b++) {
      const __m512i start = _mm512_load_si512(p.start + (s * NB + b) * kLanes);
      for (int i = 0; i < P; i++) acc[i][b] = start;
    }
    // Three tiles to a pointer: a pointer each would be more than there are registers.
    const uint8_t* a[(P + 2) / 3];
    for (size_t i = 0; i < P; i += 3) a[i / 3] = group.in + s * group.pitch + i * channels;
    const int8_t* w = p.weights + s * p.weight_pitch;
    for (const int8_t* const end = w + channels / 4 * NB * 64; w != end; w += NB * 64) {
      __m512i weights[NB];
      for (size_t b = 0; b < NB; b++) weights[b] = _mm512_load_si512(w + b * 64);
      for (size_t i = 0; i < P; i++) {
        const __m512i q = broadcast4(a[i / 3] + i % 3 * channels);
        for (size_t b = 0; b < NB; b++) acc[i][b] = _mm512_dpbusd_epi32(acc[i][b], q, weights[b]);
      }
      for (const uint8_t*& at : a) at += 4;
    }
    // As the rows of what moves out are positions, so are the columns of what moves in.
    int32_t* to = m.sums + s * m.part;
    for (size_t i = 0; i < P * NB; i++) _mm512_store_si512(to + i * m.position, acc[i / NB][i % NB]);
  }
  std::swap(m.position, m.part);
  m.tiles = group.tiles;
  m.parts = P * NB;
}

template <int NB, bool Residual>
void winograd_groups(const WinogradProduct& p) {
  const Storer storer(p.epilogue);
  WinogradSums m;
  for (size_t g = 0; g < p.count; g++) {
    const WinogradGroup& group = p.groups[g];
    switch (group.count) {
      case 1: winograd_multiply<1, NB, Residual>(p, group, storer, m); break;
      case 2: winograd_multiply<2, NB, Residual>(p, group, storer, m); break;
      case 3: winograd_multiply<3, NB, Residual>(p, group, storer, m); break;
      case 4: winograd_multiply<4, NB, Residual>(p, group, storer, m); break;
    }
    if constexpr (NB <= 2) {
      switch (group.count) {
        case 5: winograd_multiply<5, NB, Residual>(p, group, storer, m); break;
        case 6: winograd_multiply<6, NB, Residual>(p, group, storer, m); break;
        case 7: winograd_multiply<7, NB, Residual>(p, group, storer, m); break;
        case 8: winograd_multiply<8, NB, Residual>(p, group, storer, m); break;
      }
    }
  }
  for (size_t s = 0; s < m.parts; s++) winograd_output<NB, Residual>(p, storer, m, s);
}

void winograd_product(const WinogradProduct& p) {
  const bool residual = p.epilogue.residual != nullptr;
  switch (p.blocks) {
    case 1: return residual ? winograd_groups<1, true>(p) : winograd_groups<1, false>(p);
    case 2: return residual ? winograd_groups<2, true>(p) : winograd_groups<2, false>(p);
    case 4: return residual ? winograd_groups<4, true>(p) : winograd_groups<4, false>(p);
  }
}

constexpr WinogradKernels kWinograd = {winograd_inputs, winograd_weights, winograd_product};
