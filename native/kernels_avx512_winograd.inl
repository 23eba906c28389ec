// Winograd F(2×2, 3×3) with AVX-512 (winograd.h says what of). Included by kernels_avx512vnni.cc.

/**
 * Where place i,j of a 4×4 lies among the 16: in the order 0, 3, 1, 2 of j, for these pairs are multiplied together.
 */
constexpr size_t winograd_place(size_t i, size_t j) { return 4 * i + (j == 0 ? 0 : j == 3 ? 1 : j + 1); }

/** in: four times four pixels of 64 channels; out: [place][tile][channel]. */
void winograd_inputs(const WinogradInputs& w) {
  const __m512i offset = _mm512_set1_epi8(static_cast<char>(w.offset));
  for (size_t t = 0; t < w.count; t++) {
    // The last step of a tile may write into the next tile, which is yet to come, or into the room between places.
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
          const __m512i q = i * j == 1 ? y[j] : _mm512_add_epi8(y[j], offset);
          _mm512_storeu_si512(to + winograd_place(i, j) * w.pitch, q);
        }
      }
    }
  }
}

/** dpbusd in place: as an intrinsic, GCC 12 copies sums to other registers and back, and spills some. */
inline void add_products(__m512i& sum, __m512i q, __m512i w) { asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(q), "v"(w)); }
inline void add_word_products(__m512i& sum, __m512i q, __m512i w) { asm("vpdpwssd %2, %1, %0" : "+v"(sum) : "v"(q), "v"(w)); }

/** a, a + b + c, a - b + c, c of bytes. */
inline void winograd_axis(__m512i a, __m512i b, __m512i c, __m512i* to) {
  const __m512i s = _mm512_add_epi8(a, c);
  to[0] = a, to[1] = _mm512_add_epi8(s, b), to[2] = _mm512_sub_epi8(s, b), to[3] = c;
}

/**
 * out: [pair of places][group][2][64]. What makes up for the inputs' offset, added at every place but 1,1: that sum is
 * in all four outputs, and each has one corner of its own, times ±4.
 */
template <int Bits>
void winograd_weights_of(const WinogradWeights& w) {
  constexpr size_t kStep = 8 * Bits;
  const Unpacker u(Bits);
  const __m512i ones = _mm512_set1_epi8(1), zero = _mm512_setzero_si512();
  const size_t groups = w.channels / 4, tap = groups * kStep;
  const uint8_t* from[3] = {w.packed, w.packed + 3 * tap, w.packed + 6 * tap};
  int8_t* out = w.out;
  // Σ(2·g0 + g2) and Σ(g1 - g2) of each row of the kernel, and Σ of all nine.
  __m512i even[3] = {zero, zero, zero}, odd[3] = {zero, zero, zero}, all = zero;
  for (size_t g = 0; g < groups; g++, out += 128) {
    __m512i rows[3][4];
    for (size_t y = 0; y < 3; y++) {
      __m512i c[3];
      for (size_t x = 0; x < 3; x++) {
        const uint8_t* at = from[y] + x * tap;
        c[x] = Bits <= 4 ? u.half_codes(at) : u.codes(at);
        // Nine streams are more than the processor foresees.
        _mm_prefetch(reinterpret_cast<const char*>(at + 8 * kStep), _MM_HINT_T0);
      }
      from[y] += kStep;
      add_products(even[y], ones, _mm512_add_epi8(_mm512_add_epi8(c[0], c[0]), c[2]));
      add_products(odd[y], ones, _mm512_sub_epi8(c[1], c[2]));
      winograd_axis(c[0], c[1], c[2], rows[y]);
    }
    for (size_t j = 0; j < 4; j++) {
      __m512i column[4];
      winograd_axis(rows[0][j], rows[1][j], rows[2][j], column);
      if (j == 1) add_products(all, ones, column[1]);
      for (size_t i = 0; i < 4; i++) {
        const size_t place = winograd_place(i, j);
        _mm512_store_si512(out + place / 2 * w.pitch + place % 2 * 64, column[i]);
      }
    }
  }
  const __m512i offset = _mm512_set1_epi32(w.offset);
  const auto start = [&](size_t i, size_t j, __m512i sum) {
    _mm512_store_si512(w.start + winograd_place(i, j) * kLanes, _mm512_mullo_epi32(sum, offset));
  };
  const auto ends = [](const __m512i* s) { return _mm512_add_epi32(_mm512_add_epi32(s[0], s[0]), s[2]); };
  for (size_t i = 0; i < 16; i++) start(i / 4, i % 4, zero);
  start(0, 0, _mm512_sub_epi32(zero, ends(even)));
  start(0, 3, ends(odd));
  start(1, 1, all);
  start(3, 0, _mm512_sub_epi32(even[1], even[2]));
  start(3, 3, _mm512_sub_epi32(odd[2], odd[1]));
}

void winograd_weights(const WinogradWeights& w) {
  switch (w.bits) {
    case 2: return winograd_weights_of<2>(w);
    case 3: return winograd_weights_of<3>(w);
    case 4: return winograd_weights_of<4>(w);
    case 5: return winograd_weights_of<5>(w);
    case 6: return winograd_weights_of<6>(w);
  }
}

/** Sums of up to 8 tiles, the rows of four places already taken together: [row][tile][2][16]. */
struct WinogradSums {
  /** Off the power of two, or the rows would share cache sets. */
  static constexpr size_t kRow = 17 * kLanes;
  alignas(64) int32_t sums[4 * kRow];
  const WinogradTile* tiles = nullptr;
  size_t count = 0;
};

/** The sums of tile t to codes. */
template <bool Residual>
inline void winograd_output(const WinogradProduct& p, const Storer& storer, const WinogradSums& m, size_t t) {
  const Epilogue& e = p.epilogue;
  const WinogradTile& tile = m.tiles[t];
  __m512i out[4];
  for (size_t x = 0; x < 2; x++) {
    const auto row = [&](size_t i) { return _mm512_load_si512(m.sums + i * WinogradSums::kRow + (2 * t + x) * kLanes); };
    const __m512i one = row(1), two = row(2);
    out[x] = _mm512_add_epi32(_mm512_slli_epi32(row(0), 1), _mm512_add_epi32(one, two));
    out[2 + x] = _mm512_sub_epi32(_mm512_sub_epi32(one, two), _mm512_slli_epi32(row(3), 1));
  }
  const __m512i bias = _mm512_loadu_si512(e.bias);
  const __m512 multiplier = _mm512_loadu_ps(e.multipliers);
  const size_t first = tile.pixel * e.pitch, down = tile.rows > 1 ? p.out_width * e.pitch : 0;
  const size_t across = tile.columns > 1 ? e.pitch : 0;
  // What lies outside the image falls on what lies inside, and is stored before it.
  const size_t to[4] = {first, first + across, first + down, first + down + across};
  for (size_t i = 0; i < 4; i++) {
    const __m512i sum = _mm512_add_epi32(_mm512_srai_epi32(out[i], 2), bias);
    out[i] = storer.rounded<Residual>(sum, multiplier, Residual ? e.residual + to[i] : nullptr);
  }
  const __m512i codes = storer.joined(out);
  Storer::store_quarter(e.codes + to[3], _mm512_extracti32x4_epi32(codes, 3));
  Storer::store_quarter(e.codes + to[2], _mm512_extracti32x4_epi32(codes, 2));
  Storer::store_quarter(e.codes + to[1], _mm512_extracti32x4_epi32(codes, 1));
  Storer::store_quarter(e.codes + to[0], _mm512_castsi512_si128(codes));
}

/** Products of four bytes at a time, or of two numbers of 16 bits. */
enum class Dot { bytes, words };

/** Adds the products of two places to the sums of P tiles. */
template <int P, Dot dot = Dot::bytes>
inline void winograd_pair(const WinogradProduct& p, const WinogradGroup& group, size_t pair, __m512i (&a)[P],
                          __m512i (&b)[P], const uint8_t*& next, size_t ahead) {
  // Bytes of a tile at one place.
  const size_t size = dot == Dot::bytes ? p.channels : 2 * p.channels;
  const auto add = [](__m512i& sum, __m512i q, __m512i w) {
    if (dot == Dot::bytes) add_products(sum, q, w);
    else add_word_products(sum, q, w);
  };
  // Three tiles to a pointer: a pointer each would be more than there are registers.
  const uint8_t *x[(P + 2) / 3], *y[(P + 2) / 3];
  for (size_t i = 0; i < P; i += 3) {
    x[i / 3] = group.in + 2 * pair * group.pitch + i * size;
    y[i / 3] = x[i / 3] + group.pitch;
  }
  const int8_t *w = p.weights + pair * p.weight_pitch, *const end = w + size * 2 * kLanes;
  do {
    const __m512i v = _mm512_load_si512(w), u = _mm512_load_si512(w + 64);
    for (size_t i = 0; i < P; i++) {
      add(a[i], broadcast4(x[i / 3] + i % 3 * size), v);
      add(b[i], broadcast4(y[i / 3] + i % 3 * size), u);
    }
    for (const uint8_t*& at : x) at += 4;
    for (const uint8_t*& at : y) at += 4;
    _mm_prefetch(reinterpret_cast<const char*>(next), _MM_HINT_T1);
    next += ahead;
    w += 128;
  } while (w != end);
}

/**
 * Sixteen products of P tiles × 16 rows; between them the tiles before become codes. A row of places m0…m3 gives
 * 2·m0 + m1 + m2 and m1 - m2 - 2·m3, sum and difference of m0 - m3 + m1 and m0 + m3 + m2: only those two are stored, for
 * a store takes as long as two multiplications.
 */
template <int P, bool Residual>
void winograd_multiply(const WinogradProduct& p, const WinogradGroup& group, const Storer& storer,
                       const WinogradSums& before, WinogradSums& m, const uint8_t*& next, size_t ahead) {
  for (size_t i = 0; i < 4; i++) {
    for (size_t t = 2 * i; t < 2 * i + 2; t++) if (t < before.count) winograd_output<Residual>(p, storer, before, t);
    const auto start = [&](size_t j) { return _mm512_load_si512(p.start + winograd_place(i, j) * kLanes); };
    __m512i a[P], b[P];
    for (int t = 0; t < P; t++) a[t] = start(0), b[t] = start(3);
    winograd_pair<P>(p, group, 2 * i, a, b, next, ahead);
    const __m512i inner = start(1);
    for (int t = 0; t < P; t++) {
      const __m512i first = a[t];
      a[t] = _mm512_add_epi32(_mm512_sub_epi32(first, b[t]), inner);
      b[t] = _mm512_add_epi32(first, b[t]);
    }
    winograd_pair<P>(p, group, 2 * i + 1, a, b, next, ahead);
    int32_t* to = m.sums + i * WinogradSums::kRow;
    for (int t = 0; t < P; t++, to += 2 * kLanes) {
      _mm512_store_si512(to, _mm512_add_epi32(a[t], b[t]));
      _mm512_store_si512(to + kLanes, _mm512_sub_epi32(a[t], b[t]));
    }
  }
  m.tiles = group.tiles;
  m.count = P;
}

/** Each form has such a switch of its own: through a shared one with lambdas, GCC 12 makes the products 3 to 100 % slower. */
template <bool Residual>
void winograd_groups(const WinogradProduct& p) {
  const Storer storer(p.epilogue);
  WinogradSums sums[2];
  const uint8_t* next = p.next;
  for (size_t g = 0; g < p.count; g++) {
    const WinogradGroup& group = p.groups[g];
    const WinogradSums& before = sums[(g + 1) % 2];
    WinogradSums& m = sums[g % 2];
    const size_t ahead = g == 0 ? p.ahead : 0;
    switch (group.count) {
      case 1: winograd_multiply<1, Residual>(p, group, storer, before, m, next, ahead); break;
      case 2: winograd_multiply<2, Residual>(p, group, storer, before, m, next, ahead); break;
      case 3: winograd_multiply<3, Residual>(p, group, storer, before, m, next, ahead); break;
      case 4: winograd_multiply<4, Residual>(p, group, storer, before, m, next, ahead); break;
      case 5: winograd_multiply<5, Residual>(p, group, storer, before, m, next, ahead); break;
      case 6: winograd_multiply<6, Residual>(p, group, storer, before, m, next, ahead); break;
      case 7: winograd_multiply<7, Residual>(p, group, storer, before, m, next, ahead); break;
      case 8: winograd_multiply<8, Residual>(p, group, storer, before, m, next, ahead); break;
    }
  }
  const WinogradSums& last = sums[(p.count + 1) % 2];
  for (size_t t = 0; t < last.count; t++) winograd_output<Residual>(p, storer, last, t);
}

void winograd_product(const WinogradProduct& p) {
  if (p.epilogue.residual) winograd_groups<true>(p);
  else winograd_groups<false>(p);
}

constexpr WinogradKernels winograd_squares(const WinogradCosts& costs) {
  return {2, 2, 16, 1, costs, winograd_inputs, winograd_weights, winograd_product};
}
