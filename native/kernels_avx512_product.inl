// Integer products: tiles of 8 pixels × 32 output channels in 16 accumulators. Included by kernels_avx512vnni.cc.

/** bytes: weights are signed bytes. packed: unpacked in registers. keep: and kept as bytes, for the tiles that follow. */
enum class Weights { bytes, packed, keep };

/** P pixels × NB blocks of 16 rows. */
template <int P, int NB, Weights W>
inline void tile(const Product& p, size_t pixel, size_t row, const Unpacker& u, const Storer& storer) {
  __m512i acc[P][NB];
  const size_t left = p.rows - row;
  for (size_t b = 0; b < NB; b++) {
    const __m512i bias = _mm512_maskz_loadu_epi32(first_lanes(left - b * kLanes), p.epilogue.bias + row + b * kLanes);
    for (int i = 0; i < P; i++) acc[i][b] = bias;
  }
  const uint8_t* base[P];
  for (int i = 0; i < P; i++) base[i] = p.a + p.pixels[pixel + static_cast<size_t>(i)];
  const uint8_t* w = p.weights + row / kLanes * p.block_bytes;
  const size_t stride = p.block_bytes;
  const size_t step = 8 * static_cast<size_t>(p.bits);
  uint8_t* kept = p.unpacked;
  const size_t kept_stride = 64 * p.run_count * p.run_groups;
  for (size_t r = 0; r < p.run_count; r++) {
    const size_t begin = p.runs[r], end = begin + 4 * p.run_groups;
    for (size_t k = begin; k < end; k += 4) {
      __m512i weights[NB];
      for (size_t b = 0; b < NB; b++) {
        weights[b] = W == Weights::bytes ? _mm512_loadu_si512(w + b * stride) : u.codes(w + b * stride);
        if (W == Weights::keep) _mm512_store_si512(kept + b * kept_stride, weights[b]);
        _mm_prefetch(reinterpret_cast<const char*>(w + b * stride + 2048), _MM_HINT_T0);
      }
      w += step;
      if (W == Weights::keep) kept += 64;
      for (int i = 0; i < P; i++) {
        const __m512i q = broadcast4(base[i] + k);
        for (int b = 0; b < NB; b++) acc[i][b] = _mm512_dpbusd_epi32(acc[i][b], q, weights[b]);
      }
    }
  }
  const Epilogue& e = p.epilogue;
  if (e.codes && left >= NB * kLanes) {
    if (e.residual) storer.store_codes<P, NB, true>(e, pixel, row, acc);
    else storer.store_codes<P, NB, false>(e, pixel, row, acc);
    return;
  }
  for (size_t b = 0; b < NB; b++) {
    const size_t at = row + b * kLanes;
    const __mmask16 mask = first_lanes(left - b * kLanes);
    const __m512 multiplier = _mm512_maskz_loadu_ps(mask, e.multipliers + at);
    for (int i = 0; i < P; i++) {
      const size_t to = (pixel + static_cast<size_t>(i)) * e.pitch + at;
      storer.store(e, to, acc[i][b], _mm512_setzero_si512(), multiplier, mask);
    }
  }
}

template <int P, Weights W>
void few_pixels(const Product& p, size_t pixel, const Unpacker& u, const Storer& storer) {
  constexpr int kBlocks = P <= 4 ? 4 : 2;
  size_t row = 0;
  for (; row + (kBlocks - 1) * kLanes < p.rows; row += kBlocks * kLanes) {
    tile<P, kBlocks, W>(p, pixel, row, u, storer);
  }
  for (; row < p.rows; row += kLanes) tile<P, 1, W>(p, pixel, row, u, storer);
}

/** The pixels from `first` on that make no full tile, P of them. */
template <Weights W>
void last_pixels(const Product& p, size_t first, const Unpacker& u, const Storer& storer) {
  switch (p.count - first) {
    case 1: return few_pixels<1, W>(p, first, u, storer);
    case 2: return few_pixels<2, W>(p, first, u, storer);
    case 3: return few_pixels<3, W>(p, first, u, storer);
    case 4: return few_pixels<4, W>(p, first, u, storer);
    case 5: return few_pixels<5, W>(p, first, u, storer);
    case 6: return few_pixels<6, W>(p, first, u, storer);
    case 7: return few_pixels<7, W>(p, first, u, storer);
  }
}

void product_of_bytes(const Product& p) {
  const Unpacker u(1);
  const Storer storer(p.epilogue);
  const size_t full = p.count / 8 * 8;
  size_t row = 0;
  for (; row + kLanes < p.rows; row += 2 * kLanes) {
    for (size_t pixel = 0; pixel < full; pixel += 8) tile<8, 2, Weights::bytes>(p, pixel, row, u, storer);
  }
  for (; row < p.rows; row += kLanes) {
    for (size_t pixel = 0; pixel < full; pixel += 8) tile<8, 1, Weights::bytes>(p, pixel, row, u, storer);
  }
  last_pixels<Weights::bytes>(p, full, u, storer);
}

/** The first tile of a pair of blocks unpacks its weights; the others find them as bytes. */
void product_of_packed(const Product& p) {
  const Unpacker u(p.bits);
  const Storer storer(p.epilogue);
  if (p.count < 8) return last_pixels<Weights::packed>(p, 0, u, storer);
  for (size_t row = 0; row < p.rows; row += 2 * kLanes) {
    const bool pair = p.rows - row > kLanes;
    if (pair) tile<8, 2, Weights::keep>(p, 0, row, u, storer);
    else tile<8, 1, Weights::keep>(p, 0, row, u, storer);
    if (p.count == 8) continue;
    Product rest = p;
    rest.pixels += 8;
    rest.count -= 8;
    rest.rows = pair ? (p.rows - row < 2 * kLanes ? p.rows - row : 2 * kLanes) : p.rows - row;
    rest.weights = p.unpacked;
    rest.bits = 8;
    rest.block_bytes = 64 * p.run_count * p.run_groups;
    Epilogue& e = rest.epilogue;
    const size_t at = 8 * e.pitch + row;
    e.bias += row;
    e.multipliers += row;
    if (e.residual) e.residual += at;
    if (e.codes) e.codes += at;
    if (e.floats) e.floats += at;
    product_of_bytes(rest);
  }
}

void product(const Product& p) {
  if (p.count == 1) dense<1>(p);
  else if (p.count == 2) dense<2>(p);
  else if (p.bits == 8) product_of_bytes(p);
  else product_of_packed(p);
}
