#include "kernels.h"

#if defined(__AVX512VNNI__) && defined(__AVX512VBMI__)
#include <immintrin.h>

#include <cmath>
#include <cstring>
#include <utility>

#include "packing.h"

/**
 * AVX-512 with VNNI and VBMI (Ice Lake, Zen 4 and later). Tiles of 8 pixels × 32 output channels in 16 accumulators;
 * vpdpbusd multiplies four inputs at a time. Packed weights of any width are unpacked in registers: one byte
 * permutation, one multishift, one mask, one subtraction for 64 codes.
 */
namespace bitdial {
namespace {
#include "kernels_generic.inl"
#include "kernels_avx512_unpack.inl"
#include "kernels_avx512_store.inl"
#include "kernels_avx512_dense.inl"
#include "kernels_avx512_product.inl"
#include "kernels_avx512_winograd.inl"
#include "kernels_avx512_winograd_rows.inl"
#include "kernels_avx512_winograd_large.inl"
#include "kernels_avx512_float.inl"
#include "kernels_avx512_depthwise_small.inl"
#include "kernels_avx512_depthwise.inl"
#include "kernels_avx512_float_depthwise.inl"
#include "kernels_avx512_search.inl"

/** A Zen 4, which does 64 bytes in two halves. */
constexpr WinogradKernels kHalvesSquares = winograd_squares({15, 75, 4.2, 70});
constexpr WinogradKernels kHalvesRows = winograd_rows({15, 60, 3.15, 30});
constexpr WinogradKernels kHalvesLarge = winograd_large({60, 500, 20, 200});
/** A Zen 5, with two dot products of 64 bytes a cycle: the direct way gains the most. */
constexpr WinogradKernels kWholeSquares = winograd_squares({15, 60, 2.3, 40});
constexpr WinogradKernels kWholeRows = winograd_rows({14.5, 50, 1.75, 15});
/** Not measured: a Zen 4's, less what its two halves take, and a tenth more for tiles. */
constexpr WinogradKernels kWholeLarge = winograd_large({60, 400, 12, 200});

constexpr Kernels make(const WinogradKernels* squares, const WinogradKernels* rows, const WinogradKernels* large,
                       const DirectCosts& direct) {
  Kernels k = generic_kernels("avx512-vnni");
  k.packed_weights = true;
  k.product = product;
  k.float_product = float_product;
  k.depthwise = depthwise;
  k.float_depthwise = float_depthwise;
  k.unpack = unpack;
  k.round_to_half = round_to_half;
  k.from_half = from_half;
  k.to_half = to_half;
  k.squared_error = squared_error;
  k.moments = moments;
  k.codes = codes;
  k.bins = bins;
  k.fold = fold;
  k.turn = turn;
  k.winograd = squares;
  k.winograd_rows = rows;
  k.winograd_large = large;
  k.direct = direct;
  return k;
}
constexpr Kernels kHalves = make(&kHalvesSquares, &kHalvesRows, &kHalvesLarge, {2.35, 5});
constexpr Kernels kWhole = make(&kWholeSquares, &kWholeRows, &kWholeLarge, {1.2, 3});

bool supported() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512vnni");
}
}  // namespace

const Kernels* avx512_vnni_kernels() {
  if (!supported()) return nullptr;
  // Of AMD's family 25 only Zen 4 comes as far as here.
  return __builtin_cpu_is("amdfam19h") ? &kHalves : &kWhole;
}
}  // namespace bitdial
#else
namespace bitdial {
const Kernels* avx512_vnni_kernels() { return nullptr; }
}  // namespace bitdial
#endif
