// Products of rows of pixels with weights, and their transpose, in tiles of registers.

template <size_t P, size_t B>
void product_tile(const PixelProduct& p, size_t pixel, size_t block) {
  Lanes sums[P][B];
  for (auto& line : sums) for (Lanes& sum : line) sum = zeros();
  const size_t step = p.in_step, block_floats = p.run_count * p.run_length * kBlock;
  const float* w = p.weights + block * block_floats;
  const float* in = p.in + pixel * step;
  for (size_t r = 0; r < p.run_count; r++) {
    const float* x = in + p.runs[r];
    for (const float* end = x + p.run_length; x < end; x++, w += kBlock) {
      Lanes weights[B];
      for (size_t b = 0; b < B; b++) weights[b] = load(w + b * block_floats);
      for (size_t i = 0; i < P; i++) {
        const Lanes v = broadcast(x[i * step]);
        for (size_t b = 0; b < B; b++) sums[i][b] = multiply_add(v, weights[b], sums[i][b]);
      }
    }
  }
  const size_t channel = block * kBlock, left = p.channels - channel - (B - 1) * kBlock;
  for (size_t i = 0; i < P; i++) {
    float* out = p.out + (pixel + i) * p.out_step + channel;
    for (size_t b = 0; b < B; b++) {
      if (b + 1 < B || left >= kBlock) store(out + b * kBlock, sums[i][b]);
      else store(out + b * kBlock, sums[i][b], left);
    }
  }
}

using ProductTile = void (*)(const PixelProduct&, size_t, size_t);

template <size_t B, size_t P = kTilePixels>
constexpr ProductTile product_tile_of(size_t pixels) {
  if constexpr (P == 0) return nullptr;
  else return pixels == P ? product_tile<P, B> : product_tile_of<B, P - 1>(pixels);
}

/** All pixels, in tiles of about the same size, for B blocks. */
template <size_t B>
inline void product_pixels(const PixelProduct& p, size_t block) {
  const size_t tiles = (p.pixels + kTilePixels - 1) / kTilePixels;
  const size_t size = p.pixels / tiles, larger = p.pixels % tiles;
  const ProductTile tile = product_tile_of<B>(size), large = product_tile_of<B>(size + (larger > 0));
  size_t pixel = 0;
  for (size_t i = 0; i < larger; i++, pixel += size + 1) large(p, pixel, block);
  for (; pixel < p.pixels; pixel += size) tile(p, pixel, block);
}

void product(const PixelProduct& p) {
  if (p.pixels == 0) return;
  const size_t blocks = (p.channels + kBlock - 1) / kBlock;
  size_t block = 0;
  for (; block + kTileBlocks <= blocks; block += kTileBlocks) product_pixels<kTileBlocks>(p, block);
  for (; block < blocks; block++) product_pixels<1>(p, block);
}

/** Rows k … k + R - 1 and B blocks of channels from n on; of the last block only `left`, where it is Partial. */
template <size_t R, size_t B, bool Partial>
void outer_tile(const OuterProduct& o, size_t k, size_t n) {
  Lanes sums[R][B];
  for (auto& line : sums) for (Lanes& sum : line) sum = zeros();
  const size_t left = o.channels - n - (B - 1) * kBlock;
  for (size_t image = 0; image < o.images; image++) {
    for (size_t line = 0; line < o.lines; line++) {
      const float* x = o.x + image * o.x_image + line * o.x_line + k;
      const float* dy = o.dy + image * o.dy_image + line * o.dy_line + n;
      for (size_t pixel = 0; pixel < o.pixels; pixel++, x += o.x_pixel, dy += o.dy_pixel) {
        Lanes d[B];
        for (size_t b = 0; b < B; b++) {
          d[b] = Partial && b == B - 1 ? load(dy + b * kBlock, left) : load(dy + b * kBlock);
        }
        for (size_t r = 0; r < R; r++) {
          const Lanes v = broadcast(x[r]);
          for (size_t b = 0; b < B; b++) sums[r][b] = multiply_add(v, d[b], sums[r][b]);
        }
      }
    }
  }
  for (size_t r = 0; r < R; r++) {
    float* to = o.sums + (k + r) * o.channels + n;
    for (size_t b = 0; b < B; b++, to += kBlock) {
      if (Partial && b == B - 1) store(to, load(to, left) + sums[r][b], left);
      else store(to, load(to) + sums[r][b]);
    }
  }
}

using OuterTile = void (*)(const OuterProduct&, size_t, size_t);

template <size_t B, bool Partial, size_t R>
constexpr OuterTile outer_tile_of(size_t rows) {
  if constexpr (R == 0) return nullptr;
  else return rows == R ? outer_tile<R, B, Partial> : outer_tile_of<B, Partial, R - 1>(rows);
}

template <size_t B, bool Partial, size_t Most>
inline void outer_rows(const OuterProduct& o, size_t n) {
  const size_t tiles = (o.length + Most - 1) / Most;
  const size_t size = o.length / tiles, larger = o.length % tiles;
  const OuterTile tile = outer_tile_of<B, Partial, Most>(size), large = outer_tile_of<B, Partial, Most>(size + (larger > 0));
  size_t k = 0;
  for (size_t i = 0; i < larger; i++, k += size + 1) large(o, k, n);
  for (; k < o.length; k += size) tile(o, k, n);
}

void outer(const OuterProduct& o) {
  size_t n = 0;
  for (; n + kTileBlocks * kBlock <= o.channels; n += kTileBlocks * kBlock) outer_rows<kTileBlocks, false, kOuterRows>(o, n);
  for (; n + kBlock <= o.channels; n += kBlock) outer_rows<1, false, kOuterRowsAlone>(o, n);
  if (n < o.channels) outer_rows<1, true, kOuterRowsAlone>(o, n);
}
