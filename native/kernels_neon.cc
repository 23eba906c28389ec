#include "kernels.h"

#if defined(__aarch64__) && defined(__ARM_FEATURE_DOTPROD)
#include <arm_neon.h>
#if defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

#include <cmath>
#include <cstring>

#include "packing.h"

/**
 * Arm with the dot-product extension (Armv8.2, Apple M1 and later). SDOT takes signed operands: inputs are used as
 * q - 128, and 128·Σc is added from a sum of the codes that is taken along the way.
 */
namespace bitdial {
namespace {
#include "kernels_generic.inl"

template <int P>
inline void tile(const Product& p, size_t pixel, size_t row) {
  int32x4_t acc[P][4], codes[4];
  for (int j = 0; j < 4; j++) {
    codes[j] = vdupq_n_s32(0);
    for (int i = 0; i < P; i++) acc[i][j] = vdupq_n_s32(0);
  }
  const int8x16_t ones = vdupq_n_s8(1);
  const int8_t* w = reinterpret_cast<const int8_t*>(p.weights + row / kLanes * p.block_bytes);
  for (size_t r = 0; r < p.run_count; r++) {
    const size_t begin = p.runs[r], end = begin + 4 * p.run_groups;
    for (size_t k = begin; k < end; k += 4, w += 64) {
      int8x16_t q[P];
      for (int i = 0; i < P; i++) {
        uint32_t four;
        std::memcpy(&four, p.a + p.pixels[pixel + static_cast<size_t>(i)] + k, 4);
        q[i] = vreinterpretq_s8_u32(vdupq_n_u32(four ^ 0x80808080u));
      }
      for (int j = 0; j < 4; j++) {
        const int8x16_t weights = vld1q_s8(w + 16 * j);
        codes[j] = vdotq_s32(codes[j], weights, ones);
        for (int i = 0; i < P; i++) acc[i][j] = vdotq_s32(acc[i][j], q[i], weights);
      }
    }
  }
  const size_t lanes = p.rows - row < kLanes ? p.rows - row : kLanes;
  for (int i = 0; i < P; i++) {
    int32_t sums[kLanes];
    for (int j = 0; j < 4; j++) vst1q_s32(sums + 4 * j, vaddq_s32(acc[i][j], vshlq_n_s32(codes[j], 7)));
    store_sums(p.epilogue, pixel + static_cast<size_t>(i), row, lanes, sums);
  }
}

void product(const Product& p) {
  for (size_t row = 0; row < p.rows; row += kLanes) {
    size_t pixel = 0;
    for (; pixel + 4 <= p.count; pixel += 4) tile<4>(p, pixel, row);
    for (; pixel < p.count; pixel++) tile<1>(p, pixel, row);
  }
}

constexpr Kernels make() {
  Kernels k = generic_kernels("neon-dotprod");
  k.product = product;
  return k;
}
constexpr Kernels kKernels = make();

bool supported() {
#if defined(__linux__)
  return (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0;
#else
  return true;
#endif
}
}  // namespace

const Kernels* neon_kernels() { return supported() ? &kKernels : nullptr; }
}  // namespace bitdial
#else
namespace bitdial {
const Kernels* neon_kernels() { return nullptr; }
}  // namespace bitdial
#endif
