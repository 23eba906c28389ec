// Products of one or two pixels: what they cost is reading the weights. Included by kernels_avx512vnni.cc.

/** Inputs up to which a sum of products of a field, shifted as it stands, keeps within 32 bits. */
constexpr size_t kFieldInputs = size_t{1} << 18;

/**
 * Bytes ahead of which weights are fetched on Intel's processors, whose own prefetching leaves a fifth of the memory's rate;
 * AMD's, a Zen 4 at least, gets no faster by it.
 */
constexpr size_t kAhead = 1024;

/** Signed bytes; an operand as it lies there. */
struct ByteCodes {
  static constexpr bool kNarrow = false;
  static constexpr size_t step = 64;
  static constexpr unsigned shift(int) { return 0; }
  void take(const uint8_t* weights, __m512i (&out)[1]) const { out[0] = _mm512_loadu_si512(weights); }
};

/** Codes of 5, 6 and 7 bits (and of any width) without their offset, one group at a time. */
struct GroupCodes {
  static constexpr bool kNarrow = false;
  Unpacker unpacker;
  size_t step;

  explicit GroupCodes(int bits) : unpacker(bits), step(8 * static_cast<size_t>(bits)) {}
  static constexpr unsigned shift(int) { return 0; }
  void take(const uint8_t* packed, __m512i (&out)[1]) const { out[0] = unpacker.unsigned_codes(packed); }
};

/**
 * Codes of 2 and 4 bits without their offset, 64 bytes at a time: four and two groups. One byte permutation brings a row's
 * bytes together, then each field of their bits is an operand where it stands: products come out times 1 << shift(field).
 * An operand has every fourth or second input, so inputs are put in that order beforehand:
 *
 *     4 bits, 2 fields    0 2 4 6 | 1 3 5 7
 *     2 bits, 4 fields    0 4 8 12 | 1 5 9 13 | 2 6 10 14 | 3 7 11 15
 *
 * vpdpbusd multiplies unsigned bytes by signed ones. Narrow inputs, those below 128, are the signed ones; wide ones are
 * the unsigned, and the topmost field has to move down by a bit.
 */
template <int Fields, bool Narrow>
struct FieldCodes {
  static constexpr bool kNarrow = Narrow;
  static constexpr int kBits = 8 / Fields;
  static constexpr size_t step = 64;
  __m512i together, masks[Fields];

  FieldCodes() {
    alignas(64) uint8_t from[64];
    constexpr int kRowBytes = 4 / Fields, kGroupBytes = 64 / Fields;
    for (int i = 0; i < 64; i++) {
      const int row = i / 4, byte = i % 4;
      from[i] = static_cast<uint8_t>(byte / kRowBytes * kGroupBytes + row * kRowBytes + byte % kRowBytes);
    }
    together = _mm512_load_si512(from);
    for (int f = 0; f < Fields; f++) masks[f] = _mm512_set1_epi8(static_cast<char>(((1 << kBits) - 1) << shift(f)));
  }

  static constexpr bool moves(int field) { return !Narrow && field == Fields - 1; }
  static constexpr unsigned shift(int field) { return static_cast<unsigned>(field * kBits - moves(field)); }

  void take(const uint8_t* packed, __m512i (&out)[Fields]) const {
    const __m512i bytes = _mm512_permutexvar_epi8(together, _mm512_loadu_si512(packed));
    for (int f = 0; f < Fields; f++) {
      out[f] = _mm512_and_si512(moves(f) ? _mm512_srli_epi16(bytes, 1) : bytes, masks[f]);
    }
  }
};

/**
 * Codes of 3 bits without their offset, two groups at a time: the permutation brings the 6 bytes of two rows together, the
 * multishift gives each byte two codes that follow each other, each of which is an operand where it stands, as above; and
 * the order of the inputs is that of 4 bits. Below 64, so the unsigned ones are the inputs, however wide.
 *
 *     eight bytes    0 | 0 | row 1, row 0 of the second group, 3 bytes | row 1, row 0 of the first, 3 bytes
 */
struct ThreeBitCodes {
  static constexpr bool kNarrow = false;
  static constexpr size_t step = 48;
  __m512i together, shifts, masks[2];

  ThreeBitCodes() {
    alignas(64) uint8_t from[64], to[64];
    for (int i = 0; i < 64; i++) {
      const int pair = i / 8, byte = i % 8, row = byte / 4, codes = byte % 4;
      from[i] = static_cast<uint8_t>(byte < 6 ? byte / 3 * 24 + 3 * pair + byte % 3 : 0);
      to[i] = static_cast<uint8_t>(codes / 2 * 24 + row * 12 + codes % 2 * 6);
    }
    together = _mm512_load_si512(from);
    shifts = _mm512_load_si512(to);
    for (int f = 0; f < 2; f++) masks[f] = _mm512_set1_epi8(static_cast<char>(7 << shift(f)));
  }

  static constexpr unsigned shift(int field) { return static_cast<unsigned>(3 * field); }
  void take(const uint8_t* packed, __m512i (&out)[2]) const {
    const __m512i bytes = _mm512_permutexvar_epi8(together, _mm512_loadu_si512(packed));
    const __m512i pairs = _mm512_multishift_epi64_epi8(shifts, bytes);
    for (int f = 0; f < 2; f++) out[f] = _mm512_and_si512(pairs, masks[f]);
  }
};

/** Where the inputs of P pixels are: runs of `steps` times Fields groups. */
template <int P>
struct DenseInputs {
  const uint8_t* pixels[P];
  const uint32_t* runs;
  size_t run_count, steps;
};

/** Sums of one block of 16 rows; it reads weights in order and nothing else, as the processor's own prefetching likes. */
template <int P, int Fields, typename Codes>
inline void dense_sums(const Codes& codes, const uint8_t* w, const DenseInputs<P>& inputs, bool ahead, __m512i (&sums)[P]) {
  constexpr int kAtOnce = 2;
  __m512i acc[P][kAtOnce][Fields];
  for (auto& pixel : acc) for (auto& some : pixel) for (__m512i& a : some) a = _mm512_setzero_si512();
  for (size_t r = 0; r < inputs.run_count; r++) {
    size_t at = inputs.runs[r];
    const auto step = [&](int u) __attribute__((always_inline)) {
      __m512i weights[Fields];
      codes.take(w, weights);
      if (ahead) _mm_prefetch(reinterpret_cast<const char*>(w + kAhead), _MM_HINT_T0);
      w += codes.step;
      for (int f = 0; f < Fields; f++, at += 4) {
        for (int i = 0; i < P; i++) {
          const __m512i q = broadcast4(inputs.pixels[i] + at);
          __m512i& a = acc[i][u][f];
          a = Codes::kNarrow ? _mm512_dpbusd_epi32(a, weights[f], q) : _mm512_dpbusd_epi32(a, q, weights[f]);
        }
      }
    };
    size_t s = 0;
    for (; s + kAtOnce <= inputs.steps; s += kAtOnce) {
      step(0);
      step(1);
    }
    if (s < inputs.steps) step(0);
  }
  for (int i = 0; i < P; i++) {
    sums[i] = _mm512_setzero_si512();
    for (int f = 0; f < Fields; f++) {
      const __m512i both = _mm512_add_epi32(acc[i][0][f], acc[i][1][f]);
      sums[i] = _mm512_add_epi32(sums[i], _mm512_srli_epi32(both, codes.shift(f)));
    }
  }
}

/** @param offsets what is in the sums of each pixel because codes are without their sign */
template <int P, int Fields, typename Codes>
void dense_rows(const Product& p, const Codes& codes, const DenseInputs<P>& inputs, const uint32_t (&offsets)[P]) {
  const Storer storer(p.epilogue);
  const Epilogue& e = p.epilogue;
  const uint8_t* w = p.weights;
  const bool ahead = __builtin_cpu_is("intel");
  for (size_t row = 0; row < p.rows; row += kLanes, w += p.block_bytes) {
    __m512i sums[P];
    dense_sums<P, Fields>(codes, w, inputs, ahead, sums);
    const size_t left = p.rows - row;
    const __mmask16 mask = first_lanes(left);
    const __m512i bias = _mm512_maskz_loadu_epi32(mask, e.bias + row);
    const __m512 multiplier = _mm512_maskz_loadu_ps(mask, e.multipliers + row);
    for (size_t i = 0; i < P; i++) {
      const __m512i sum = _mm512_sub_epi32(sums[i], _mm512_set1_epi32(static_cast<int>(offsets[i])));
      storer.store(e, i * e.pitch + row, sum, bias, multiplier, mask);
    }
  }
}

/** Copies a pixel's runs side by side, zeros after them up to `pitch`; returns their sum, and all of them or-ed. */
inline uint32_t gather_runs(const Product& p, size_t pixel, uint8_t* to, size_t pitch, __m512i& any) {
  const size_t length = 4 * p.run_groups, total = p.run_count * length;
  for (size_t r = 0; r < p.run_count; r++) std::memcpy(to + r * length, p.a + p.pixels[pixel] + p.runs[r], length);
  std::memset(to + total, 0, pitch - total);
  __m512i sum = _mm512_setzero_si512();
  for (size_t k = 0; k < pitch; k += 64) {
    const __m512i q = _mm512_loadu_si512(to + k);
    any = _mm512_or_si512(any, q);
    sum = _mm512_add_epi64(sum, _mm512_sad_epu8(q, _mm512_setzero_si512()));
  }
  return static_cast<uint32_t>(_mm512_reduce_add_epi64(sum));
}

/** Puts inputs in the order that FieldCodes has. */
template <int Fields>
void arrange(uint8_t* inputs, size_t count) {
  alignas(64) uint8_t from[64];
  for (int i = 0; i < 64; i++) {
    const int at = i % (4 * Fields);
    from[i] = static_cast<uint8_t>(i - at + at % 4 * Fields + at / 4);
  }
  const __m512i order = _mm512_load_si512(from);
  for (size_t k = 0; k < count; k += 64) {
    _mm512_storeu_si512(inputs + k, _mm512_permutexvar_epi8(order, _mm512_loadu_si512(inputs + k)));
  }
}

/** What a product of packed codes works on: its inputs side by side. */
template <int P>
struct DensePacked {
  const Product& p;
  size_t groups, pitch;
  DenseInputs<P> inputs;
  uint32_t offsets[P];
  bool narrow;

  explicit DensePacked(const Product& product)
      : p(product), groups(p.run_count * p.run_groups), pitch((4 * groups + 63) / 64 * 64) {
    static const uint32_t kStart = 0;
    inputs = {{}, &kStart, 1, groups};
    __m512i any = _mm512_setzero_si512();
    for (size_t i = 0; i < P; i++) {
      inputs.pixels[i] = p.unpacked + i * pitch;
      offsets[i] = gather_runs(p, i, p.unpacked + i * pitch, pitch, any) << (p.bits - 1);
    }
    narrow = _mm512_movepi8_mask(any) == 0;
  }

  template <int Fields, typename Codes>
  void fields(const Codes& codes) {
    arrange<Fields>(p.unpacked, P * pitch);
    inputs.steps = (groups + Fields - 1) / Fields;
    dense_rows<P, Fields>(p, codes, inputs, offsets);
  }
  template <int Fields>
  void fields() {
    if (narrow) fields<Fields>(FieldCodes<Fields, true>());
    else fields<Fields>(FieldCodes<Fields, false>());
  }

  void run() {
    const bool few = 4 * groups <= kFieldInputs;
    if (p.bits == 2 && few) fields<4>();
    else if (p.bits == 3 && few) fields<2>(ThreeBitCodes());
    else if (p.bits == 4 && few) fields<2>();
    else dense_rows<P, 1>(p, GroupCodes(p.bits), inputs, offsets);
  }
};

template <int P>
void dense(const Product& p) {
  if (p.bits < 8) return DensePacked<P>(p).run();
  DenseInputs<P> inputs = {{}, p.runs, p.run_count, p.run_groups};
  for (int i = 0; i < P; i++) inputs.pixels[i] = p.a + p.pixels[i];
  dense_rows<P, 1>(p, ByteCodes(), inputs, {});
}
