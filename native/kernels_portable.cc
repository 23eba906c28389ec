#include <cmath>
#include <cstring>

#include "kernels.h"
#include "packing.h"

/** Plain C++ for any processor. */
namespace bitdial {
namespace {
#include "kernels_generic.inl"
constexpr Kernels kKernels = generic_kernels("portable");
}  // namespace

const Kernels* portable_kernels() { return &kKernels; }
}  // namespace bitdial
