#include "kernels.h"

#if defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
#include <immintrin.h>

#include <cmath>
#include <cstring>

#include "packing.h"

/**
 * AVX2 with FMA and F16C (Haswell, Zen and later). Weights are unpacked to bytes first. vpmaddubsw adds two products
 * in int16, which holds them up to 7 × 8 bits; 8 × 8 bits (`wide`) goes through 16-bit operands.
 */
namespace bitdial {
namespace {
#include "kernels_generic.inl"

inline __m256i broadcast4(const uint8_t* q) {
  int32_t four;
  std::memcpy(&four, q, 4);
  return _mm256_set1_epi32(four);
}

inline __m256i load(const void* at) { return _mm256_loadu_si256(static_cast<const __m256i*>(at)); }

template <int P>
inline void narrow_tile(const Product& p, size_t pixel, size_t row) {
  __m256i acc[P][2];
  for (auto& line : acc) line[0] = line[1] = _mm256_setzero_si256();
  const __m256i ones = _mm256_set1_epi16(1);
  const uint8_t* w = p.weights + row / kLanes * p.block_bytes;
  for (size_t r = 0; r < p.run_count; r++) {
    const size_t begin = p.runs[r], end = begin + 4 * p.run_groups;
    for (size_t k = begin; k < end; k += 4, w += 64) {
      const __m256i low = load(w), high = load(w + 32);
      for (int i = 0; i < P; i++) {
        const __m256i q = broadcast4(p.a + p.pixels[pixel + static_cast<size_t>(i)] + k);
        acc[i][0] = _mm256_add_epi32(acc[i][0], _mm256_madd_epi16(_mm256_maddubs_epi16(q, low), ones));
        acc[i][1] = _mm256_add_epi32(acc[i][1], _mm256_madd_epi16(_mm256_maddubs_epi16(q, high), ones));
      }
    }
  }
  const size_t lanes = p.rows - row < kLanes ? p.rows - row : kLanes;
  for (int i = 0; i < P; i++) {
    int32_t sums[kLanes];
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(sums), acc[i][0]);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(sums + 8), acc[i][1]);
    store_sums(p.epilogue, pixel + static_cast<size_t>(i), row, lanes, sums);
  }
}

template <int P>
inline void wide_tile(const Product& p, size_t pixel, size_t row) {
  // Two neighbouring lanes each hold half of a row's sum.
  __m256i acc[P][4];
  for (auto& line : acc) for (__m256i& a : line) a = _mm256_setzero_si256();
  const uint8_t* w = p.weights + row / kLanes * p.block_bytes;
  for (size_t r = 0; r < p.run_count; r++) {
    const size_t begin = p.runs[r], end = begin + 4 * p.run_groups;
    for (size_t k = begin; k < end; k += 4, w += 64) {
      __m256i q[P];
      for (int i = 0; i < P; i++) {
        q[i] = _mm256_cvtepu8_epi16(
            _mm256_castsi256_si128(broadcast4(p.a + p.pixels[pixel + static_cast<size_t>(i)] + k)));
      }
      for (int j = 0; j < 4; j++) {
        const __m256i codes =
            _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(w + 16 * static_cast<size_t>(j))));
        for (int i = 0; i < P; i++) acc[i][j] = _mm256_add_epi32(acc[i][j], _mm256_madd_epi16(q[i], codes));
      }
    }
  }
  const size_t lanes = p.rows - row < kLanes ? p.rows - row : kLanes;
  for (int i = 0; i < P; i++) {
    int32_t halves[2 * kLanes], sums[kLanes];
    for (size_t j = 0; j < 4; j++) _mm256_storeu_si256(reinterpret_cast<__m256i*>(halves + 8 * j), acc[i][j]);
    for (size_t l = 0; l < kLanes; l++) {
      sums[l] = static_cast<int32_t>(static_cast<uint32_t>(halves[2 * l]) + static_cast<uint32_t>(halves[2 * l + 1]));
    }
    store_sums(p.epilogue, pixel + static_cast<size_t>(i), row, lanes, sums);
  }
}

void product(const Product& p) {
  for (size_t row = 0; row < p.rows; row += kLanes) {
    size_t pixel = 0;
    if (p.wide) {
      for (; pixel + 2 <= p.count; pixel += 2) wide_tile<2>(p, pixel, row);
      for (; pixel < p.count; pixel++) wide_tile<1>(p, pixel, row);
    } else {
      for (; pixel + 4 <= p.count; pixel += 4) narrow_tile<4>(p, pixel, row);
      for (; pixel < p.count; pixel++) narrow_tile<1>(p, pixel, row);
    }
  }
}

template <int P>
inline void float_tile(const FloatProduct& p, size_t pixel, size_t row) {
  __m256 acc[P][2];
  for (auto& line : acc) line[0] = line[1] = _mm256_setzero_ps();
  const float* w = p.weights + row / kLanes * p.block_floats;
  for (size_t r = 0; r < p.run_count; r++) {
    const size_t begin = p.runs[r], end = begin + p.run_length;
    for (size_t k = begin; k < end; k++, w += p.k_stride) {
      const __m256 low = _mm256_loadu_ps(w), high = _mm256_loadu_ps(w + 8);
      for (int i = 0; i < P; i++) {
        const __m256 x = _mm256_set1_ps(p.a[p.pixels[pixel + static_cast<size_t>(i)] + k]);
        acc[i][0] = _mm256_fmadd_ps(x, low, acc[i][0]);
        acc[i][1] = _mm256_fmadd_ps(x, high, acc[i][1]);
      }
    }
  }
  const size_t lanes = p.rows - row < kLanes ? p.rows - row : kLanes;
  for (int i = 0; i < P; i++) {
    float sums[kLanes];
    _mm256_storeu_ps(sums, acc[i][0]);
    _mm256_storeu_ps(sums + 8, acc[i][1]);
    store_floats(p.epilogue, pixel + static_cast<size_t>(i), row, lanes, sums);
  }
}

/** Blocks of fewer than 16 rows are read past their end: into the next k, or into the slack. */
void float_product(const FloatProduct& p) {
  for (size_t row = 0; row < p.rows; row += kLanes) {
    size_t pixel = 0;
    for (; pixel + 6 <= p.count; pixel += 6) float_tile<6>(p, pixel, row);
    for (; pixel < p.count; pixel++) float_tile<1>(p, pixel, row);
  }
}

inline __m128i half_of(__m256 v) {
  const __m256 held = _mm256_min_ps(_mm256_max_ps(v, _mm256_set1_ps(-65504.0f)), _mm256_set1_ps(65504.0f));
  return _mm256_cvtps_ph(held, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

void round_to_half(float* values, size_t n) {
  size_t i = 0;
  for (; i + 8 <= n; i += 8) _mm256_storeu_ps(values + i, _mm256_cvtph_ps(half_of(_mm256_loadu_ps(values + i))));
  generic_round_to_half(values + i, n - i);
}

void from_half(const uint16_t* in, size_t n, float* out) {
  size_t i = 0;
  for (; i + 8 <= n; i += 8) {
    _mm256_storeu_ps(out + i, _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(in + i))));
  }
  generic_from_half(in + i, n - i, out + i);
}

constexpr Kernels make() {
  Kernels k = generic_kernels("avx2");
  k.product = product;
  k.float_product = float_product;
  k.round_to_half = round_to_half;
  k.from_half = from_half;
  return k;
}
constexpr Kernels kKernels = make();
}  // namespace

const Kernels* avx2_kernels() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? &kKernels : nullptr;
}
}  // namespace bitdial
#else
namespace bitdial {
const Kernels* avx2_kernels() { return nullptr; }
}  // namespace bitdial
#endif
