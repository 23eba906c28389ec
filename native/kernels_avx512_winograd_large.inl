// Winograd F(4×4, 3×3) in 16 bits with AVX-512 (winograd.h says what of). Included by kernels_avx512vnni.cc.

/** Bᵀ of six vectors of 16 bits. */
inline void winograd_large_input_axis(const __m512i (&a)[6], __m512i (&to)[6]) {
  const auto add = [](__m512i x, __m512i y) { return _mm512_add_epi16(x, y); };
  const auto sub = [](__m512i x, __m512i y) { return _mm512_sub_epi16(x, y); };
  const auto four = [](__m512i x) { return _mm512_slli_epi16(x, 2); };
  const __m512i even = sub(a[4], a[2]), odd = sub(a[3], a[1]), twice = add(odd, odd);
  const __m512i far_even = sub(a[4], four(a[2])), far_odd = sub(a[3], four(a[1]));
  to[0] = add(four(sub(a[0], a[2])), even);
  to[1] = add(far_even, far_odd);
  to[2] = sub(far_even, far_odd);
  to[3] = add(even, twice);
  to[4] = sub(even, twice);
  to[5] = sub(sub(a[5], a[3]), four(odd));
}

/** Channels 0 and 2 of each four as 16-bit numbers, or 1 and 3. */
template <bool Odd>
inline __m512i winograd_half(__m512i bytes) {
  return Odd ? _mm512_srli_epi16(bytes, 8) : _mm512_and_si512(bytes, _mm512_set1_epi16(255));
}

template <bool Odd>
inline void winograd_large_half_inputs(const WinogradInputs& w, const WinogradTile& tile, uint8_t* to) {
  for (size_t c = 0; c < w.channels; c += 64) {
    __m512i x[6][6];
    for (size_t j = 0; j < 6; j++) {
      const uint8_t* from = w.a + tile.patch + j * w.channels + c;
      __m512i d[6], column[6];
      for (size_t i = 0; i < 6; i++) d[i] = winograd_half<Odd>(_mm512_loadu_si512(from + i * w.row));
      winograd_large_input_axis(d, column);
      for (size_t i = 0; i < 6; i++) x[i][j] = column[i];
    }
    const __mmask16 mask = first_lanes((w.channels - c) / 4);
    for (size_t i = 0; i < 6; i++) {
      __m512i row[6];
      winograd_large_input_axis(x[i], row);
      for (size_t j = 0; j < 6; j++) _mm512_mask_storeu_epi32(to + c + (6 * i + j) * w.pitch, mask, row[j]);
    }
  }
}

/** in: six times six pixels of channels; out: [place][tile][2][channel], first channels 0 and 2 of each four, then 1 and 3. */
void winograd_large_inputs(const WinogradInputs& w) {
  for (size_t t = 0; t < w.count; t++) {
    uint8_t* to = w.out + 2 * t * w.channels;
    winograd_large_half_inputs<false>(w, w.tiles[t], to);
    winograd_large_half_inputs<true>(w, w.tiles[t], to + w.channels);
  }
}

/** G of three vectors of 16 bits. */
inline void winograd_large_weight_axis(__m512i a, __m512i b, __m512i c, __m512i* to) {
  const __m512i six = _mm512_set1_epi16(6);
  const __m512i near = _mm512_add_epi16(a, c), far = _mm512_add_epi16(a, _mm512_slli_epi16(c, 2));
  const __m512i twice = _mm512_add_epi16(b, b);
  to[0] = _mm512_mullo_epi16(a, six);
  to[1] = _mm512_add_epi16(near, b), to[2] = _mm512_sub_epi16(near, b);
  to[3] = _mm512_add_epi16(far, twice), to[4] = _mm512_sub_epi16(far, twice);
  to[5] = _mm512_mullo_epi16(c, six);
}

/** out: [pair of places][2][group][2][64 bytes], halves of groups as those of inputs. */
template <int Bits>
void winograd_large_weights_of(const WinogradWeights& w) {
  constexpr size_t kStep = 8 * Bits;
  const Unpacker u(Bits);
  const size_t groups = w.channels / 4, tap = groups * kStep;
  const uint8_t* from = w.packed;
  int8_t* out = w.out;
  for (size_t g = 0; g < groups; g++, out += 128, from += kStep) {
    __m512i codes[9];
    for (size_t t = 0; t < 9; t++) {
      const uint8_t* at = from + t * tap;
      codes[t] = Bits == 8 ? _mm512_loadu_si512(at) : u.codes(at);
      // Nine streams are more than the processor foresees.
      _mm_prefetch(reinterpret_cast<const char*>(at + 8 * kStep), _MM_HINT_T0);
    }
    for (size_t half = 0; half < 2; half++) {
      __m512i rows[3][6];
      for (size_t y = 0; y < 3; y++) {
        __m512i c[3];
        for (size_t x = 0; x < 3; x++) {
          const __m512i code = codes[3 * y + x];
          c[x] = _mm512_srai_epi16(half == 0 ? _mm512_slli_epi16(code, 8) : code, 8);
        }
        winograd_large_weight_axis(c[0], c[1], c[2], rows[y]);
      }
      for (size_t j = 0; j < 6; j++) {
        __m512i column[6];
        winograd_large_weight_axis(rows[0][j], rows[1][j], rows[2][j], column);
        for (size_t i = 0; i < 6; i++) {
          const size_t place = 6 * i + j;
          _mm512_store_si512(out + place / 2 * w.pitch + half * groups * 128 + place % 2 * 64, column[i]);
        }
      }
    }
  }
}

void winograd_large_weights(const WinogradWeights& w) {
  switch (w.bits) {
    case 2: return winograd_large_weights_of<2>(w);
    case 3: return winograd_large_weights_of<3>(w);
    case 4: return winograd_large_weights_of<4>(w);
    case 5: return winograd_large_weights_of<5>(w);
    case 6: return winograd_large_weights_of<6>(w);
    case 7: return winograd_large_weights_of<7>(w);
    case 8: return winograd_large_weights_of<8>(w);
  }
}

/** Sums of up to 8 tiles: [place][tile][16]. */
struct WinogradLargeSums {
  /** Off the power of two, or the places would share cache sets. */
  static constexpr size_t kPlace = 9 * kLanes;
  alignas(64) int32_t sums[36 * kPlace];
};

/** Aᵀ of six vectors of sums: 24, 12, 6 and 6 times what it is to give. */
inline void winograd_large_output_axis(const __m512i (&m)[6], __m512i (&to)[4]) {
  const auto add = [](__m512i x, __m512i y) { return _mm512_add_epi32(x, y); };
  const auto sub = [](__m512i x, __m512i y) { return _mm512_sub_epi32(x, y); };
  const __m512i s = add(m[1], m[2]), d = sub(m[1], m[2]), u = add(m[3], m[4]), v = sub(m[3], m[4]);
  to[0] = add(m[0], sub(u, _mm512_slli_epi32(s, 2)));
  to[1] = sub(v, _mm512_slli_epi32(d, 1));
  to[2] = sub(u, s);
  to[3] = add(sub(m[5], d), _mm512_slli_epi32(v, 1));
}

/** The sums of tile t to codes. */
template <bool Residual>
inline void winograd_large_output(const WinogradProduct& p, const Storer& storer, const WinogradLargeSums& m, size_t t,
                                  const WinogradTile& tile) {
  /** 9 times it is 1 modulo 2^32. */
  const __m512i ninth = _mm512_set1_epi32(0x38e38e39);
  constexpr int kShift[4] = {3, 2, 1, 1};
  const Epilogue& e = p.epilogue;
  const __m512i bias = _mm512_loadu_si512(e.bias);
  const __m512 multiplier = _mm512_loadu_ps(e.multipliers);
  __m512i x[4][6];
#pragma GCC unroll 6
  for (size_t i = 0; i < 6; i++) {
    __m512i row[6], y[4];
#pragma GCC unroll 6
    for (size_t j = 0; j < 6; j++) row[j] = _mm512_load_si512(m.sums + (6 * i + j) * WinogradLargeSums::kPlace + t * kLanes);
    winograd_large_output_axis(row, y);
#pragma GCC unroll 4
    for (size_t j = 0; j < 4; j++) x[j][i] = y[j];
  }
#pragma GCC unroll 4
  for (size_t j = 0; j < 4; j++) {
    if (j >= tile.columns) break;
    __m512i out[4];
    winograd_large_output_axis(x[j], out);
    const size_t first = (tile.pixel + j) * e.pitch, down = p.out_width * e.pitch;
#pragma GCC unroll 4
    for (size_t i = 0; i < 4; i++) {
      const __m512i sum = _mm512_srai_epi32(_mm512_mullo_epi32(out[i], ninth), static_cast<unsigned>(kShift[i] + kShift[j]));
      const uint8_t* residual = Residual ? e.residual + first + (i < tile.rows ? i : 0) * down : nullptr;
      out[i] = storer.rounded<Residual>(_mm512_add_epi32(sum, bias), multiplier, residual);
    }
    const __m512i codes = storer.joined(out);
    uint8_t* to = e.codes + first;
    Storer::store_quarter(to, _mm512_castsi512_si128(codes));
    if (tile.rows > 1) Storer::store_quarter(to + down, _mm512_extracti32x4_epi32(codes, 1));
    if (tile.rows > 2) Storer::store_quarter(to + 2 * down, _mm512_extracti32x4_epi32(codes, 2));
    if (tile.rows > 3) Storer::store_quarter(to + 3 * down, _mm512_extracti32x4_epi32(codes, 3));
  }
}

/** Thirty-six products of P tiles × 16 rows. */
template <int P, bool Residual>
void winograd_large_multiply(const WinogradProduct& p, const WinogradGroup& group, const Storer& storer,
                             WinogradLargeSums& m, const uint8_t*& next, size_t ahead) {
  int32_t* to = m.sums;
  for (size_t pair = 0; pair < 18; pair++, to += 2 * WinogradLargeSums::kPlace) {
    __m512i a[P], b[P];
    for (int t = 0; t < P; t++) a[t] = b[t] = _mm512_setzero_si512();
    winograd_pair<P, Dot::words>(p, group, pair, a, b, next, ahead);
    for (int t = 0; t < P; t++) {
      _mm512_store_si512(to + t * kLanes, a[t]);
      _mm512_store_si512(to + WinogradLargeSums::kPlace + t * kLanes, b[t]);
    }
  }
  for (size_t t = 0; t < P; t++) winograd_large_output<Residual>(p, storer, m, t, group.tiles[t]);
}

template <bool Residual>
void winograd_large_groups(const WinogradProduct& p) {
  const Storer storer(p.epilogue);
  WinogradLargeSums m;
  const uint8_t* next = p.next;
  for (size_t g = 0; g < p.count; g++) {
    const WinogradGroup& group = p.groups[g];
    const size_t ahead = g == 0 ? p.ahead : 0;
    switch (group.count) {
      case 1: winograd_large_multiply<1, Residual>(p, group, storer, m, next, ahead); break;
      case 2: winograd_large_multiply<2, Residual>(p, group, storer, m, next, ahead); break;
      case 3: winograd_large_multiply<3, Residual>(p, group, storer, m, next, ahead); break;
      case 4: winograd_large_multiply<4, Residual>(p, group, storer, m, next, ahead); break;
      case 5: winograd_large_multiply<5, Residual>(p, group, storer, m, next, ahead); break;
      case 6: winograd_large_multiply<6, Residual>(p, group, storer, m, next, ahead); break;
      case 7: winograd_large_multiply<7, Residual>(p, group, storer, m, next, ahead); break;
      case 8: winograd_large_multiply<8, Residual>(p, group, storer, m, next, ahead); break;
    }
  }
}

void winograd_large_product(const WinogradProduct& p) {
  if (p.epilogue.residual) winograd_large_groups<true>(p);
  else winograd_large_groups<false>(p);
}

constexpr WinogradKernels winograd_large(const WinogradCosts& costs) {
  return {4, 4, 36, 2, costs, winograd_large_inputs, winograd_large_weights, winograd_large_product};
}
