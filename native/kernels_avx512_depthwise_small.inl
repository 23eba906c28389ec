// Depthwise convolution of windows up to 3×3 with AVX-512 VNNI. Included by kernels_avx512vnni.cc.
//
// A column of three codes of a channel and a 0 are the four bytes that vpdpbusd multiplies: a column of 64 channels is
// four vectors, and three columns make an output. Interleaving bytes, then pairs, leaves channels in an order of its
// own; weights and parameters are brought into the same, and packing sums to bytes undoes it:
//
//     vector j, 128-bit lane l: channels 16l + 4j … 16l + 4j + 3

inline void interleave(__m512i a, __m512i b, __m512i c, __m512i d, __m512i (&out)[4]) {
  const __m512i ab = _mm512_unpacklo_epi8(a, b), ab_high = _mm512_unpackhi_epi8(a, b);
  const __m512i cd = _mm512_unpacklo_epi8(c, d), cd_high = _mm512_unpackhi_epi8(c, d);
  out[0] = _mm512_unpacklo_epi16(ab, cd);
  out[1] = _mm512_unpackhi_epi16(ab, cd);
  out[2] = _mm512_unpacklo_epi16(ab_high, cd_high);
  out[3] = _mm512_unpackhi_epi16(ab_high, cd_high);
}

/** 64 words, channel after channel, in the order of interleave(). */
inline void reorder(const __m512i (&in)[4], __m512i (&out)[4]) {
  const __m512i a = _mm512_shuffle_i32x4(in[0], in[1], 0x44), b = _mm512_shuffle_i32x4(in[0], in[1], 0xee);
  const __m512i c = _mm512_shuffle_i32x4(in[2], in[3], 0x44), d = _mm512_shuffle_i32x4(in[2], in[3], 0xee);
  out[0] = _mm512_shuffle_i32x4(a, c, 0x88);
  out[1] = _mm512_shuffle_i32x4(a, c, 0xdd);
  out[2] = _mm512_shuffle_i32x4(b, d, 0x88);
  out[3] = _mm512_shuffle_i32x4(b, d, 0xdd);
}

inline __mmask64 first_bytes(size_t n) { return n >= 64 ? ~__mmask64{0} : (__mmask64{1} << n) - 1; }

/** Weights and parameters of 64 bytes of a line: of 64 channels at most, or of all channels several times over. */
struct SmallBlock {
  __m512i weights[3][4], bias[4];
  __m512 multipliers[4];

  SmallBlock(const Depthwise& p, size_t c) {
    const WindowShape& w = p.window;
    alignas(64) int8_t taps[3][3][64] = {};
    alignas(64) int32_t biases[64] = {};
    alignas(64) float factors[64] = {};
    const size_t period = w.channels - c < 64 ? w.channels - c : 64;
    for (size_t at = 0; at + period <= 64; at += period) {
      for (size_t t = 0; t < size_t{w.kernel_height} * w.kernel_width; t++) {
        std::memcpy(taps[t % w.kernel_width][t / w.kernel_width] + at, p.weights + t * w.channels + c, period);
      }
      std::memcpy(biases + at, p.epilogue.bias + c, 4 * period);
      std::memcpy(factors + at, p.epilogue.multipliers + c, 4 * period);
    }
    __m512i words[4];
    for (size_t x = 0; x < 3; x++) {
      for (size_t y = 0; y < 3; y++) words[y] = _mm512_load_si512(taps[x][y]);
      interleave(words[0], words[1], words[2], _mm512_setzero_si512(), weights[x]);
    }
    for (size_t i = 0; i < 4; i++) words[i] = _mm512_load_si512(biases + 16 * i);
    reorder(words, bias);
    __m512i reordered[4];
    for (size_t i = 0; i < 4; i++) words[i] = _mm512_load_si512(factors + 16 * i);
    reorder(words, reordered);
    for (size_t i = 0; i < 4; i++) multipliers[i] = _mm512_castsi512_ps(reordered[i]);
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
  void store(const Epilogue& e, size_t at, const SmallBlock& block, const __m512i (&sums)[4], __mmask64 mask) const {
    __m512i q[4], residual[4];
    if (Residual) {
      const __m512i none = _mm512_setzero_si512();
      interleave(_mm512_maskz_loadu_epi8(mask, e.residual + at), none, none, none, residual);
    }
    for (size_t j = 0; j < 4; j++) {
      __m512 v = _mm512_mul_ps(_mm512_cvtepi32_ps(sums[j]), block.multipliers[j]);
      if (Residual) {
        const __m512 r = _mm512_cvtepi32_ps(_mm512_sub_epi32(residual[j], residual_zero));
        v = _mm512_add_ps(v, _mm512_mul_ps(r, residual_multiplier));
      }
      q[j] = _mm512_cvtps_epi32(_mm512_min_ps(v, high));
    }
    const __m512i first = _mm512_adds_epi16(_mm512_packs_epi32(q[0], q[1]), zero);
    const __m512i last = _mm512_adds_epi16(_mm512_packs_epi32(q[2], q[3]), zero);
    const __m512i bytes = _mm512_max_epu8(_mm512_packus_epi16(first, last), low);
    _mm512_mask_storeu_epi8(e.codes + at, mask, bytes);
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
  void column(int64_t x, __m512i (&out)[4]) const {
    if (x < 0 || x >= width) {
      for (__m512i& v : out) v = fill;
    } else {
      load(x, ~__mmask64{0}, out);
    }
  }

  /** Columns side by side of all channels, 64 bytes together. */
  void columns(int64_t x, __m512i (&out)[4]) const {
    const size_t before = static_cast<size_t>(x < 0 ? least(-x, 64) : 0) * channels;
    const size_t end = static_cast<size_t>(x < width ? least(width - x, 64) : 0) * channels;
    load(x, first_bytes(end) & ~first_bytes(before), out);
  }

 private:
  void load(int64_t x, __mmask64 some, __m512i (&out)[4]) const {
    const int64_t at = x * static_cast<int64_t>(channels);
    __m512i rows[3];
    for (size_t k = 0; k < 3; k++) rows[k] = _mm512_mask_loadu_epi8(fill, mask[k] & some, line[k] + at);
    interleave(rows[0], rows[1], rows[2], _mm512_setzero_si512(), out);
  }
};

inline void copy(const __m512i (&from)[4], __m512i (&to)[4]) {
  for (size_t j = 0; j < 4; j++) to[j] = from[j];
}

/** Of a block's weights a line has its own copy, for no store of a byte can change that: it stays in registers. */
struct SmallWeights {
  __m512i of[3][4];

  explicit SmallWeights(const SmallBlock& block) {
    for (size_t x = 0; x < 3; x++) copy(block.weights[x], of[x]);
  }

  template <int KW>
  void sums(const SmallBlock& block, const __m512i (&columns)[3][4], __m512i (&out)[4]) const {
    for (size_t j = 0; j < 4; j++) {
      out[j] = block.bias[j];
      for (size_t x = 0; x < KW; x++) out[j] = _mm512_dpbusd_epi32(out[j], columns[x][j], of[x][j]);
    }
  }
};

/** A line of outputs of 64 channels. Stride: 1 or 2 where a window shares columns with the next one, else 0. */
template <int Stride, int KW, bool Residual>
void small_line(const Depthwise& p, size_t oy, size_t c, const SmallBlock& block, const SmallStorer& storer) {
  const WindowShape& w = p.window;
  const __mmask64 mask = first_bytes(w.channels - c);
  const SmallLines lines(p, oy, c, mask);
  const SmallWeights weights(block);
  size_t at = oy * w.out_width * p.epilogue.pitch + c;
  int64_t x = window_start(0, w.stride_width, w.pad_left);
  __m512i columns[3][4], sums[4];
  if (Stride > 0) lines.column(x, columns[0]);
  if (Stride == 1) lines.column(x + 1, columns[1]);
  for (size_t ox = 0; ox < w.out_width; ox++, at += p.epilogue.pitch, x += w.stride_width) {
    if (Stride > 0) {
      if (Stride == 2) lines.column(x + 1, columns[1]);
      lines.column(x + 2, columns[2]);
    } else {
      for (size_t k = 0; k < KW; k++) lines.column(x + static_cast<int64_t>(k * w.dilation_width), columns[k]);
    }
    weights.sums<KW>(block, columns, sums);
    storer.store<Residual>(p.epilogue, at, block, sums, mask);
    if (Stride == 1) copy(columns[1], columns[0]);
    if (Stride > 0) copy(columns[2], columns[Stride == 1 ? 1 : 0]);
  }
}

/** 8, 16 or 32 channels: several outputs together. */
template <bool Residual>
void narrow_line(const Depthwise& p, size_t oy, const SmallBlock& block, const SmallStorer& storer) {
  const WindowShape& w = p.window;
  const SmallLines lines(p, oy, 0, ~__mmask64{0});
  const SmallWeights weights(block);
  const size_t channels = w.channels, together = 64 / channels, first = oy * w.out_width;
  __m512i columns[3][4], sums[4];
  for (size_t ox = 0; ox < w.out_width; ox += together) {
    const int64_t x = window_start(ox, 1, w.pad_left);
    for (size_t k = 0; k < 3; k++) lines.columns(x + static_cast<int64_t>(k), columns[k]);
    weights.sums<3>(block, columns, sums);
    storer.store<Residual>(p.epilogue, (first + ox) * channels, block, sums, first_bytes((w.out_width - ox) * channels));
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
      if (narrow) narrow_line<Residual>(p, oy, block, storer);
      else line(p, oy, c, block, storer);
    }
  }
}

void small_depthwise(const Depthwise& p) {
  if (p.epilogue.residual) small_depthwise_of<true>(p);
  else small_depthwise_of<false>(p);
}
