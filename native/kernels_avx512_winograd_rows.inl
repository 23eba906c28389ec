// Winograd F(2, 3) along rows with AVX-512 (winograd.h says what of). Included by kernels_avx512vnni.cc.

/** in: three times four pixels of 64 channels; out: [place][tile][channel]. */
void winograd_row_inputs(const WinogradInputs& w) {
  const __m512i offset = _mm512_set1_epi8(static_cast<char>(w.offset));
  for (size_t t = 0; t < w.count; t++) {
    // The last step of a tile may write into the next tile, which is yet to come, or into the room between places.
    for (size_t c = 0; c < w.channels; c += 64) {
      const uint8_t* from = w.a + w.tiles[t].patch + c;
      uint8_t* to = w.out + t * w.channels + c;
      for (size_t i = 0; i < 3; i++, from += w.row) {
        const __m512i a = _mm512_loadu_si512(from), b = _mm512_loadu_si512(from + w.channels);
        const __m512i d = _mm512_loadu_si512(from + 2 * w.channels), e = _mm512_loadu_si512(from + 3 * w.channels);
        const __m512i up = _mm512_add_epi8(b, offset), far = _mm512_sub_epi8(offset, b);
        const auto store = [&](size_t j, __m512i q) { _mm512_storeu_si512(to + winograd_place(i, j) * w.pitch, q); };
        store(0, _mm512_add_epi8(a, _mm512_sub_epi8(offset, d)));
        store(1, _mm512_add_epi8(b, d));
        store(2, _mm512_add_epi8(d, far));
        store(3, _mm512_sub_epi8(up, e));
      }
    }
  }
}

/** out: [pair of places][group][2][64]. What makes up for the inputs' offset, at every place of a row but 1. */
template <int Bits>
void winograd_row_weights_of(const WinogradWeights& w) {
  constexpr size_t kStep = 8 * Bits;
  const Unpacker u(Bits);
  const __m512i ones = _mm512_set1_epi8(1), zero = _mm512_setzero_si512();
  const size_t groups = w.channels / 4, tap = groups * kStep;
  const uint8_t* from[3] = {w.packed, w.packed + 3 * tap, w.packed + 6 * tap};
  int8_t* out = w.out;
  __m512i sums[4] = {zero, zero, zero, zero};
  for (size_t g = 0; g < groups; g++, out += 128) {
    for (size_t y = 0; y < 3; y++) {
      __m512i c[3], row[4];
      for (size_t x = 0; x < 3; x++) {
        const uint8_t* at = from[y] + x * tap;
        c[x] = Bits <= 4 ? u.half_codes(at) : u.codes(at);
        _mm_prefetch(reinterpret_cast<const char*>(at + 8 * kStep), _MM_HINT_T0);
      }
      from[y] += kStep;
      winograd_axis(c[0], c[1], c[2], row);
      for (size_t j = 0; j < 4; j++) {
        if (j != 1) add_products(sums[j], ones, row[j]);
        const size_t place = winograd_place(y, j);
        _mm512_store_si512(out + place / 2 * w.pitch + place % 2 * 64, row[j]);
      }
    }
  }
  const __m512i offset = _mm512_set1_epi32(-w.offset);
  for (size_t j = 0; j < 4; j++) {
    _mm512_store_si512(w.start + winograd_place(0, j) * kLanes, _mm512_mullo_epi32(sums[j], offset));
  }
}

void winograd_row_weights(const WinogradWeights& w) {
  switch (w.bits) {
    case 2: return winograd_row_weights_of<2>(w);
    case 3: return winograd_row_weights_of<3>(w);
    case 4: return winograd_row_weights_of<4>(w);
    case 5: return winograd_row_weights_of<5>(w);
    case 6: return winograd_row_weights_of<6>(w);
  }
}

/** Sums of P tiles, [tile][2], to codes, two tiles at a time. */
template <int P, bool Residual>
inline void winograd_row_output(const WinogradProduct& p, const WinogradTile* tiles, const Storer& storer,
                                const __m512i (&sums)[2 * P]) {
  const Epilogue& e = p.epilogue;
  const __m512i bias = _mm512_loadu_si512(e.bias);
  const __m512 multiplier = _mm512_loadu_ps(e.multipliers);
#pragma GCC unroll 4
  for (int t = 0; t < P; t += 2) {
    __m512i q[4];
    uint8_t* to[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
      const int tile = t + i / 2 < P ? t + i / 2 : t;
      const size_t at = (tiles[tile].pixel + (i % 2 < tiles[tile].columns ? i % 2 : 0)) * e.pitch;
      const __m512i sum = _mm512_add_epi32(_mm512_srai_epi32(sums[2 * tile + i % 2], 1), bias);
      q[i] = storer.rounded<Residual>(sum, multiplier, Residual ? e.residual + at : nullptr);
      to[i] = e.codes + at;
    }
    // What lies outside the image falls on what lies inside, and is stored before it.
    const __m512i codes = storer.joined(q);
    Storer::store_quarter(to[3], _mm512_extracti32x4_epi32(codes, 3));
    Storer::store_quarter(to[2], _mm512_extracti32x4_epi32(codes, 2));
    Storer::store_quarter(to[1], _mm512_extracti32x4_epi32(codes, 1));
    Storer::store_quarter(to[0], _mm512_castsi512_si128(codes));
  }
}

/** Twelve products of P tiles × 16 rows. With m0…m3 summed over the kernel's rows: 2·m0 + m1 + m2 and m1 - m2 - 2·m3. */
template <int P, bool Residual>
void winograd_row_multiply(const WinogradProduct& p, const WinogradGroup& group, const Storer& storer,
                           const uint8_t*& next, size_t ahead) {
  const auto start = [&](size_t j) { return _mm512_load_si512(p.start + winograd_place(0, j) * kLanes); };
  __m512i a[P], b[P];
  for (int t = 0; t < P; t++) a[t] = start(0), b[t] = start(3);
  for (size_t y = 0; y < 3; y++) winograd_pair<P>(p, group, 2 * y, a, b, next, ahead);
  const __m512i one = start(1), two = start(2);
  for (int t = 0; t < P; t++) {
    const __m512i first = a[t];
    a[t] = _mm512_add_epi32(_mm512_sub_epi32(first, b[t]), one);
    b[t] = _mm512_add_epi32(_mm512_add_epi32(first, b[t]), two);
  }
  for (size_t y = 0; y < 3; y++) winograd_pair<P>(p, group, 2 * y + 1, a, b, next, ahead);
  __m512i sums[2 * P];
  for (int t = 0; t < P; t++) {
    sums[2 * t] = _mm512_add_epi32(a[t], b[t]);
    sums[2 * t + 1] = _mm512_sub_epi32(a[t], b[t]);
  }
  winograd_row_output<P, Residual>(p, group.tiles, storer, sums);
}

template <bool Residual>
void winograd_row_groups(const WinogradProduct& p) {
  const Storer storer(p.epilogue);
  const uint8_t* next = p.next;
  for (size_t g = 0; g < p.count; g++) {
    const WinogradGroup& group = p.groups[g];
    const size_t ahead = g == 0 ? p.ahead : 0;
    switch (group.count) {
      case 1: winograd_row_multiply<1, Residual>(p, group, storer, next, ahead); break;
      case 2: winograd_row_multiply<2, Residual>(p, group, storer, next, ahead); break;
      case 3: winograd_row_multiply<3, Residual>(p, group, storer, next, ahead); break;
      case 4: winograd_row_multiply<4, Residual>(p, group, storer, next, ahead); break;
      case 5: winograd_row_multiply<5, Residual>(p, group, storer, next, ahead); break;
      case 6: winograd_row_multiply<6, Residual>(p, group, storer, next, ahead); break;
      case 7: winograd_row_multiply<7, Residual>(p, group, storer, next, ahead); break;
      case 8: winograd_row_multiply<8, Residual>(p, group, storer, next, ahead); break;
    }
  }
}

void winograd_row_product(const WinogradProduct& p) {
  if (p.epilogue.residual) winograd_row_groups<true>(p);
  else winograd_row_groups<false>(p);
}

constexpr WinogradKernels winograd_rows(const WinogradCosts& costs) {
  return {1, 2, 12, 1, costs, winograd_row_inputs, winograd_row_weights, winograd_row_product};
}
