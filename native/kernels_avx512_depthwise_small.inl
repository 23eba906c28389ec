// Depthwise convolution of windows up to 3×3 with AVX-512 VNNI. Included by kernels_avx512vnni.cc.
//
// A column of three codes of a channel and a 0 are the four bytes that vpdpbusd multiplies: a column of 64 channels is
// four vectors, and three columns make an output. Interleaving bytes, then pairs, leaves channels in an order of its
// own; weights and parameters are brought into the same, and packing sums to bytes undoes it:
//
//     vector j, 128-bit lane l: channels 16l + 4j … 16l + 4j + 3

/** 64 words; variables of their own, for the compiler would keep an array of vectors in memory. */
struct Four {
  __m512i a, b, c, d;
};

inline Four interleave(__m512i a, __m512i b, __m512i c, __m512i d) {
  const __m512i ab = _mm512_unpacklo_epi8(a, b), ab_high = _mm512_unpackhi_epi8(a, b);
  const __m512i cd = _mm512_unpacklo_epi8(c, d), cd_high = _mm512_unpackhi_epi8(c, d);
  return {_mm512_unpacklo_epi16(ab, cd), _mm512_unpackhi_epi16(ab, cd), _mm512_unpacklo_epi16(ab_high, cd_high),
          _mm512_unpackhi_epi16(ab_high, cd_high)};
}

/** Words of channel after channel in the order of interleave(). */
inline Four reorder(const Four& in) {
  const __m512i a = _mm512_shuffle_i32x4(in.a, in.b, 0x44), b = _mm512_shuffle_i32x4(in.a, in.b, 0xee);
  const __m512i c = _mm512_shuffle_i32x4(in.c, in.d, 0x44), d = _mm512_shuffle_i32x4(in.c, in.d, 0xee);
  return {_mm512_shuffle_i32x4(a, c, 0x88), _mm512_shuffle_i32x4(a, c, 0xdd), _mm512_shuffle_i32x4(b, d, 0x88),
          _mm512_shuffle_i32x4(b, d, 0xdd)};
}

inline Four add_products(const Four& columns, const Four& weights, const Four& sums) {
  return {_mm512_dpbusd_epi32(sums.a, columns.a, weights.a), _mm512_dpbusd_epi32(sums.b, columns.b, weights.b),
          _mm512_dpbusd_epi32(sums.c, columns.c, weights.c), _mm512_dpbusd_epi32(sums.d, columns.d, weights.d)};
}

inline __mmask64 first_bytes(size_t n) { return n >= 64 ? ~__mmask64{0} : (__mmask64{1} << n) - 1; }

/** Weights and parameters of 64 bytes of a line: of 64 channels at most, or of all channels several times over. */
struct SmallBlock {
  Four left, inner, right, bias, multipliers;

  SmallBlock(const Depthwise& p, size_t c) {
    const WindowShape& w = p.window;
    const size_t channels = w.channels - c;
    const auto tap = [&](size_t y, size_t x) {
      if (y >= w.kernel_height || x >= w.kernel_width) return _mm512_setzero_si512();
      return take<1>(p.weights + (y * w.kernel_width + x) * w.channels + c, channels).a;
    };
    left = interleave(tap(0, 0), tap(1, 0), tap(2, 0), _mm512_setzero_si512());
    inner = interleave(tap(0, 1), tap(1, 1), tap(2, 1), _mm512_setzero_si512());
    right = interleave(tap(0, 2), tap(1, 2), tap(2, 2), _mm512_setzero_si512());
    bias = reorder(take<4>(p.epilogue.bias + c, channels));
    multipliers = reorder(take<4>(p.epilogue.multipliers + c, channels));
  }

 private:
  /** 64 numbers; fewer than that over and over. */
  template <size_t Vectors, typename T>
  static Four take(const T* from, size_t count) {
    alignas(64) T room[64] = {};
    if (count < 64) {
      for (size_t at = 0; at + count <= 64; at += count) std::memcpy(room + at, from, count * sizeof(T));
      from = room;
    }
    const auto load = [from](size_t i) { return _mm512_loadu_si512(from + i * 16 % (64 * Vectors / 4)); };
    return {load(0), load(1), load(2), load(3)};
  }
};

/** What bounds and zero points make of sums. */
struct SmallStorer {
  __m512 high, residual_multiplier;
  __m512i zero, low, residual_zero;

  explicit SmallStorer(const Epilogue& e)
      : high(_mm512_set1_ps(e.high)),
        residual_multiplier(_mm512_set1_ps(e.residual_multiplier)),
        zero(_mm512_set1_epi16(static_cast<int16_t>(e.out_zero))),
        low(_mm512_set1_epi8(static_cast<char>(static_cast<int32_t>(round_even(e.low)) + e.out_zero))),
        residual_zero(_mm512_set1_epi32(e.residual_zero)) {}

  /** Sums of 64 bytes of output `at`. Rounding keeps the order, so the lower bound may come after it, on bytes. */
  template <bool Residual>
  void store(const Epilogue& e, size_t at, const SmallBlock& block, const Four& sums, __mmask64 mask) const {
    const __m512i none = _mm512_setzero_si512();
    Four residual;
    if (Residual) residual = interleave(_mm512_maskz_loadu_epi8(mask, e.residual + at), none, none, none);
    const __m512i a = value<Residual>(sums.a, block.multipliers.a, residual.a);
    const __m512i b = value<Residual>(sums.b, block.multipliers.b, residual.b);
    const __m512i c = value<Residual>(sums.c, block.multipliers.c, residual.c);
    const __m512i d = value<Residual>(sums.d, block.multipliers.d, residual.d);
    const __m512i first = _mm512_adds_epi16(_mm512_packs_epi32(a, b), zero);
    const __m512i last = _mm512_adds_epi16(_mm512_packs_epi32(c, d), zero);
    const __m512i bytes = _mm512_max_epu8(_mm512_packus_epi16(first, last), low);
    if (mask == ~__mmask64{0}) _mm512_storeu_si512(e.codes + at, bytes);
    else _mm512_mask_storeu_epi8(e.codes + at, mask, bytes);
  }

 private:
  template <bool Residual>
  __m512i value(__m512i sum, __m512i multiplier, __m512i residual) const {
    __m512 v = _mm512_mul_ps(_mm512_cvtepi32_ps(sum), _mm512_castsi512_ps(multiplier));
    if (Residual) {
      const __m512 r = _mm512_cvtepi32_ps(_mm512_sub_epi32(residual, residual_zero));
      v = _mm512_add_ps(v, _mm512_mul_ps(r, residual_multiplier));
    }
    return _mm512_cvtps_epi32(_mm512_min_ps(v, high));
  }
};

/** The lines under a window: outside of the image stands `fill`. */
struct SmallLines {
  const uint8_t* line[3];
  __mmask64 mask[3];
  __m512i fill;
  size_t channels;
  int64_t width;

  SmallLines(const Depthwise& p, size_t oy, size_t c, __mmask64 channels_mask)
      : fill(_mm512_set1_epi8(static_cast<char>(p.fill))), channels(p.window.channels), width(p.window.in_width) {
    const WindowShape& w = p.window;
    for (size_t k = 0; k < 3; k++) {
      const int64_t y = window_start(oy, w.stride_height, w.pad_top) + static_cast<int64_t>(k * w.dilation_height);
      const bool in = k < w.kernel_height && y >= 0 && y < w.in_height;
      line[k] = p.a + (in ? static_cast<size_t>(y) * w.in_width * channels : 0) + c;
      mask[k] = in ? channels_mask : 0;
    }
  }

  /** One column of 64 channels. */
  Four column(int64_t x) const {
    if (x < 0 || x >= width) return {fill, fill, fill, fill};
    return load(x, ~__mmask64{0});
  }

  /** `together` columns side by side of all channels. */
  Four columns(int64_t x, int64_t together) const {
    if (x >= 0 && x + together <= width) return load(x, ~__mmask64{0});
    const size_t before = static_cast<size_t>(x < 0 ? least(-x, 64) : 0) * channels;
    const size_t end = static_cast<size_t>(x < width ? least(width - x, 64) : 0) * channels;
    return load(x, first_bytes(end) & ~first_bytes(before));
  }

 private:
  Four load(int64_t x, __mmask64 some) const {
    const int64_t at = x * static_cast<int64_t>(channels);
    return interleave(_mm512_mask_loadu_epi8(fill, mask[0] & some, line[0] + at),
                      _mm512_mask_loadu_epi8(fill, mask[1] & some, line[1] + at),
                      _mm512_mask_loadu_epi8(fill, mask[2] & some, line[2] + at), _mm512_setzero_si512());
  }
};

/** A line of outputs of 64 channels. Stride: 1 or 2 where a window shares columns with the next one, else 0. */
template <int Stride, int KW, bool Residual>
void small_line(const Depthwise& p, size_t oy, size_t c, const SmallBlock& block, const SmallStorer& storer) {
  const WindowShape& w = p.window;
  const __mmask64 mask = first_bytes(w.channels - c);
  const SmallLines lines(p, oy, c, mask);
  const Four left = block.left, inner = block.inner, right = block.right;
  const size_t pixels = w.out_width, pitch = p.epilogue.pitch;
  const int64_t step = w.stride_width, dilation = w.dilation_width;
  size_t at = oy * pixels * pitch + c;
  int64_t x = window_start(0, w.stride_width, w.pad_left);
  Four first, second, third;
  if (Stride > 0) first = lines.column(x);
  if (Stride == 1) second = lines.column(x + 1);
  for (size_t ox = 0; ox < pixels; ox++, at += pitch, x += step) {
    if (Stride == 0) first = lines.column(x);
    if (Stride != 1 && KW > 1) second = lines.column(x + dilation);
    if (KW > 2) third = lines.column(x + 2 * dilation);
    Four sums = add_products(first, left, block.bias);
    if (KW > 1) sums = add_products(second, inner, sums);
    if (KW > 2) sums = add_products(third, right, sums);
    storer.store<Residual>(p.epilogue, at, block, sums, mask);
    if (Stride == 1) first = second;
    if (Stride == 1) second = third;
    if (Stride == 2) first = third;
  }
}

/** 8, 16 or 32 channels: several outputs together; two of them share a column with the next two. */
template <bool Two, bool Residual>
void narrow_line(const Depthwise& p, size_t oy, const SmallBlock& block, const SmallStorer& storer) {
  const WindowShape& w = p.window;
  const SmallLines lines(p, oy, 0, ~__mmask64{0});
  const Four left = block.left, inner = block.inner, right = block.right;
  const size_t pixels = w.out_width, channels = w.channels, together = Two ? 2 : 64 / channels;
  const int64_t step = static_cast<int64_t>(together);
  int64_t x = window_start(0, 1, w.pad_left);
  Four first;
  if (Two) first = lines.columns(x, step);
  for (size_t ox = 0; ox < pixels; ox += together, x += step) {
    if (!Two) first = lines.columns(x, step);
    Four sums = add_products(first, left, block.bias);
    sums = add_products(lines.columns(x + 1, step), inner, sums);
    const Four third = lines.columns(x + 2, step);
    sums = add_products(third, right, sums);
    storer.store<Residual>(p.epilogue, (oy * pixels + ox) * channels, block, sums, first_bytes((pixels - ox) * channels));
    if (Two) first = third;
  }
}

template <bool Residual>
void small_depthwise_of(const Depthwise& p) {
  using Line = void (*)(const Depthwise&, size_t, size_t, const SmallBlock&, const SmallStorer&);
  constexpr Line kLines[3][3] = {{small_line<0, 1, Residual>, small_line<0, 2, Residual>, small_line<0, 3, Residual>},
                                 {small_line<0, 1, Residual>, small_line<0, 2, Residual>, small_line<1, 3, Residual>},
                                 {small_line<0, 1, Residual>, small_line<0, 2, Residual>, small_line<2, 3, Residual>}};
  const WindowShape& w = p.window;
  const SmallStorer storer(p.epilogue);
  const size_t shared = w.dilation_width == 1 && w.stride_width <= 2 ? w.stride_width : 0;
  const bool narrow = shared == 1 && w.kernel_width == 3 && w.channels >= 8 && w.channels < 64 && 64 % w.channels == 0;
  const Line line = kLines[shared][w.kernel_width - 1];
  for (size_t c = 0; c < w.channels; c += 64) {
    const SmallBlock block(p, c);
    for (size_t oy = p.first_line; oy < p.first_line + p.lines; oy++) {
      if (narrow && w.channels == 32) narrow_line<true, Residual>(p, oy, block, storer);
      else if (narrow) narrow_line<false, Residual>(p, oy, block, storer);
      else line(p, oy, c, block, storer);
    }
  }
}

void small_depthwise(const Depthwise& p) {
  if (p.epilogue.residual) small_depthwise_of<true>(p);
  else small_depthwise_of<false>(p);
}
