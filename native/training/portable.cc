#include <cstring>

#include "kernels.h"

namespace bitdial::training {
namespace {
#include "lanes_portable.inl"
#include "table.inl"
constexpr Kernels kKernels = table("portable");
}  // namespace

const Kernels* portable_kernels() { return &kKernels; }
}  // namespace bitdial::training
