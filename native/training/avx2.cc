#include "kernels.h"

#if defined(__AVX2__) && defined(__FMA__)
#include <immintrin.h>

namespace bitdial::training {
namespace {
#include "lanes_avx2.inl"
#include "table.inl"
constexpr Kernels kKernels = table("avx2");
}  // namespace

const Kernels* avx2_kernels() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? &kKernels : nullptr;
}
}  // namespace bitdial::training
#else
namespace bitdial::training {
const Kernels* avx2_kernels() { return nullptr; }
}  // namespace bitdial::training
#endif
