#include "kernels.h"

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512VL__) && defined(__AVX512DQ__)
#include <immintrin.h>

namespace bitdial::training {
namespace {
#include "lanes_avx512.inl"
#include "table.inl"
constexpr Kernels kKernels = table("avx512");
}  // namespace

const Kernels* avx512_kernels() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                 __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq")
             ? &kKernels
             : nullptr;
}
}  // namespace bitdial::training
#else
namespace bitdial::training {
const Kernels* avx512_kernels() { return nullptr; }
}  // namespace bitdial::training
#endif
