#include "kernels.h"

#if defined(__AVX512VNNI__) && defined(__AVX512VBMI__)
#include <immintrin.h>

#include <cstring>

#include "packing.h"

/**
 * AVX-512 with VNNI and VBMI (Ice Lake, Zen 4 and later). Tiles of 8 pixels × 32 output channels in 16 accumulators;
 * vpdpbusd multiplies four inputs at a time. Packed weights of any width are unpacked in registers: one byte
 * permutation, one multishift, one mask, one subtraction for 64 codes.
 */
namespace bitdial {
namespace {
#include "kernels_generic.inl"
#include "kernels_avx512_float.inl"
#include "kernels_avx512_search.inl"

/** Constants that unpack 64 codes of `bits` bits, as packing.h lays them out. */
struct Unpacker {
  __m512i bytes, shifts, mask, offset;

  explicit Unpacker(int bits) {
    alignas(64) uint8_t from[64], shift[64];
    for (int i = 0; i < 64; i++) {
      from[i] = static_cast<uint8_t>((i / 8 * bits + i % 8) & 63);
      shift[i] = static_cast<uint8_t>(i % 8 * bits);
    }
    bytes = _mm512_load_si512(from);
    shifts = _mm512_load_si512(shift);
    mask = _mm512_set1_epi8(static_cast<char>((1 << bits) - 1));
    offset = _mm512_set1_epi8(static_cast<char>(1 << (bits - 1)));
  }

  __m512i unsigned_codes(const uint8_t* packed) const {
    const __m512i spread = _mm512_permutexvar_epi8(bytes, _mm512_loadu_si512(packed));
    return _mm512_and_si512(_mm512_multishift_epi64_epi8(shifts, spread), mask);
  }

  __m512i codes(const uint8_t* packed) const { return _mm512_sub_epi8(unsigned_codes(packed), offset); }
};

void unpack(const uint8_t* packed, size_t count, int bits, int8_t* out) {
  if (bits == 8) {
    std::memcpy(out, packed, count);
    return;
  }
  const Unpacker u(bits);
  for (size_t i = 0; i < count; i += 64) {
    _mm512_storeu_si512(out + i, u.codes(packed + i / 8 * static_cast<size_t>(bits)));
  }
}

/** Sixteen sums to what is stored; `mask` has the lanes that are rows. */
struct Storer {
  __m512 low, high, residual_multiplier;
  __m512i out_zero, residual_zero;

  explicit Storer(const Epilogue& e)
      : low(_mm512_set1_ps(e.low)),
        high(_mm512_set1_ps(e.high)),
        residual_multiplier(_mm512_set1_ps(e.residual_multiplier)),
        out_zero(_mm512_set1_epi32(e.out_zero)),
        residual_zero(_mm512_set1_epi32(e.residual_zero)) {}

  __m512 value(const Epilogue& e, size_t at, __m512i sum, __m512i bias, __m512 multiplier, __mmask16 mask) const {
    __m512 v = _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_add_epi32(sum, bias)), multiplier);
    if (e.residual) {
      const __m512i q = _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(mask, e.residual + at));
      const __m512 r = _mm512_cvtepi32_ps(_mm512_sub_epi32(q, residual_zero));
      v = _mm512_add_ps(v, _mm512_mul_ps(r, residual_multiplier));
    }
    return _mm512_min_ps(_mm512_max_ps(v, low), high);
  }

  /** A tile of whole blocks: nothing is asked more than once. */
  template <int P, int NB, bool Residual>
  void store_codes(const Epilogue& e, size_t pixel, size_t row, const __m512i (&acc)[P][NB]) const {
    for (size_t b = 0; b < NB; b++) {
      const size_t at = row + b * kLanes;
      const __m512i bias = _mm512_loadu_si512(e.bias + at);
      const __m512 multiplier = _mm512_loadu_ps(e.multipliers + at);
      uint8_t* to = e.codes + pixel * e.pitch + at;
      const uint8_t* from = Residual ? e.residual + pixel * e.pitch + at : nullptr;
      for (int i = 0; i < P; i++, to += e.pitch) {
        __m512 v = _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_add_epi32(acc[i][b], bias)), multiplier);
        if (Residual) {
          const __m512i q = _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
          const __m512 r = _mm512_cvtepi32_ps(_mm512_sub_epi32(q, residual_zero));
          v = _mm512_add_ps(v, _mm512_mul_ps(r, residual_multiplier));
          from += e.pitch;
        }
        const __m512i q = _mm512_cvtps_epi32(_mm512_min_ps(_mm512_max_ps(v, low), high));
        _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm512_cvtepi32_epi8(_mm512_add_epi32(q, out_zero)));
      }
    }
  }

  void store(const Epilogue& e, size_t at, __m512i sum, __m512i bias, __m512 multiplier, __mmask16 mask) const {
    const __m512 v = value(e, at, sum, bias, multiplier, mask);
    if (e.floats) {
      _mm512_mask_storeu_ps(e.floats + at, mask, v);
      return;
    }
    const __m512i q = _mm512_add_epi32(_mm512_cvtps_epi32(v), out_zero);
    if (mask == 0xffff) _mm_storeu_si128(reinterpret_cast<__m128i*>(e.codes + at), _mm512_cvtepi32_epi8(q));
    else _mm512_mask_cvtepi32_storeu_epi8(e.codes + at, mask, q);
  }
};

inline __m512i broadcast4(const uint8_t* q) {
  int32_t four;
  std::memcpy(&four, q, 4);
  return _mm512_set1_epi32(four);
}

/** bytes: weights are signed bytes. packed: unpacked in registers. keep: and kept as bytes, for the tiles that follow. */
enum class Weights { bytes, packed, keep };

/** P pixels × NB blocks of 16 rows. */
template <int P, int NB, Weights W>
inline void tile(const Product& p, size_t pixel, size_t row, const Unpacker& u, const Storer& storer) {
  // Few pixels: codes stay unsigned, and the offset's share, offset·Σq, is summed up beside and taken off at the end.
  constexpr bool kSums = W == Weights::packed && P <= 2;
  __m512i acc[P][NB], sums[P];
  for (auto& line : acc) for (__m512i& a : line) a = _mm512_setzero_si512();
  for (__m512i& a : sums) a = _mm512_setzero_si512();
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
        weights[b] = W == Weights::bytes ? _mm512_loadu_si512(w + b * stride)
                     : kSums             ? u.unsigned_codes(w + b * stride)
                                         : u.codes(w + b * stride);
        if (W == Weights::keep) _mm512_store_si512(kept + b * kept_stride, weights[b]);
        _mm_prefetch(reinterpret_cast<const char*>(w + b * stride + 1024), _MM_HINT_T0);
      }
      w += step;
      if (W == Weights::keep) kept += 64;
      for (int i = 0; i < P; i++) {
        const __m512i q = broadcast4(base[i] + k);
        for (int b = 0; b < NB; b++) acc[i][b] = _mm512_dpbusd_epi32(acc[i][b], q, weights[b]);
        if (kSums) sums[i] = _mm512_dpbusd_epi32(sums[i], q, u.offset);
      }
    }
  }
  if (kSums) {
    for (int i = 0; i < P; i++) {
      for (int b = 0; b < NB; b++) acc[i][b] = _mm512_sub_epi32(acc[i][b], sums[i]);
    }
  }
  const Epilogue& e = p.epilogue;
  if (e.codes && p.rows - row >= NB * kLanes) {
    if (e.residual) storer.store_codes<P, NB, true>(e, pixel, row, acc);
    else storer.store_codes<P, NB, false>(e, pixel, row, acc);
    return;
  }
  for (size_t b = 0; b < NB; b++) {
    const size_t at = row + b * kLanes, left = p.rows - at;
    const __mmask16 mask = left >= kLanes ? 0xffff : static_cast<__mmask16>((1u << left) - 1);
    const __m512i bias = _mm512_maskz_loadu_epi32(mask, e.bias + at);
    const __m512 multiplier = _mm512_maskz_loadu_ps(mask, e.multipliers + at);
    for (int i = 0; i < P; i++) {
      storer.store(e, (pixel + static_cast<size_t>(i)) * e.pitch + at, acc[i][b], bias, multiplier, mask);
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
  if (p.bits == 8) product_of_bytes(p);
  else product_of_packed(p);
}

/** 16 channels at a time, four pixels for each load of a weight. */
template <int P>
inline void depthwise_tile(const Depthwise& p, size_t pixel, size_t row, const Storer& storer) {
  const size_t left = p.rows - row;
  const __mmask16 mask = left >= kLanes ? 0xffff : static_cast<__mmask16>((1u << left) - 1);
  __m512i acc[P];
  for (__m512i& a : acc) a = _mm512_setzero_si512();
  for (size_t t = 0; t < p.tap_count; t++) {
    const __m128i codes = _mm_maskz_loadu_epi8(mask, p.weights + t * p.row_pitch + row);
    const __m512i w = _mm512_cvtepi8_epi32(codes);
    for (int i = 0; i < P; i++) {
      const uint8_t* q = p.a + p.pixels[pixel + static_cast<size_t>(i)] + p.taps[t] + row;
      const __m512i x = _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(mask, q));
      // The high halves are 0 or a sign times 0: a product of the low halves.
      acc[i] = _mm512_dpwssd_epi32(acc[i], x, w);
    }
  }
  const Epilogue& e = p.epilogue;
  const __m512i bias = _mm512_maskz_loadu_epi32(mask, e.bias + row);
  const __m512 multiplier = _mm512_maskz_loadu_ps(mask, e.multipliers + row);
  for (int i = 0; i < P; i++) {
    storer.store(e, (pixel + static_cast<size_t>(i)) * e.pitch + row, acc[i], bias, multiplier, mask);
  }
}

void depthwise(const Depthwise& p) {
  const Storer storer(p.epilogue);
  for (size_t row = 0; row < p.rows; row += kLanes) {
    size_t pixel = 0;
    for (; pixel + 4 <= p.count; pixel += 4) depthwise_tile<4>(p, pixel, row, storer);
    for (; pixel < p.count; pixel++) depthwise_tile<1>(p, pixel, row, storer);
  }
}

constexpr Kernels make() {
  Kernels k = generic_kernels("avx512-vnni");
  k.packed_weights = true;
  k.product = product;
  k.float_product = float_product;
  k.depthwise = depthwise;
  k.unpack = unpack;
  k.round_to_half = round_to_half;
  k.from_half = from_half;
  k.to_half = to_half;
  k.squared_error = squared_error;
  k.moments = moments;
  k.codes = codes;
  k.fold = fold;
  k.turn = turn;
  return k;
}
constexpr Kernels kKernels = make();

bool supported() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512vnni");
}
}  // namespace

const Kernels* avx512_vnni_kernels() { return supported() ? &kKernels : nullptr; }
}  // namespace bitdial
#else
namespace bitdial {
const Kernels* avx512_vnni_kernels() { return nullptr; }
}  // namespace bitdial
#endif
