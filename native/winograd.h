#pragma once

#include <vector>

#include "execute.h"

/**
 * Exact integer Winograd F(2×2, 3×3): tiles of 2×2 outputs from 4×4 inputs by 16 products of transformed inputs and
 * weights instead of 36. With
 *
 *     Bᵀ = |1 0 -1 0; 0 1 1 0; 0 -1 1 0; 0 1 0 -1|   inputs  BᵀdB, d a tile of codes
 *     G  = |1 0 0; 1 1 1; 1 -1 1; 0 0 1|             weights GgGᵀ
 *     Aᵀ = |2 1 1 0; 0 1 -1 -2|                      outputs AᵀMA, 4 times the sums of the direct way, to the bit
 *
 * Inputs of a bits lie within ±2·top, top = 2^a - 1 (0…4·top at place 1,1): bytes, after 2·top is added, while
 * a <= 6. Weights of b bits lie within ±9·2^(b-1): signed bytes for b <= 4, above that where a layer's codes happen to.
 *
 * And F(2, 3) along rows, tiles of 1×2 outputs from 3×4 inputs by 12 products instead of 18: dBᵀ of each row, gGᵀ, and
 * twice the sums. Inputs lie within ±top (0…2·top at place 1) while a <= 7, weights within ±3·2^(b-1): b <= 6.
 *
 * And F(4×4, 3×3), large squares: tiles of 4×4 outputs from 6×6 inputs by 36 products of 16 bits instead of 144, each of which
 * takes two of 8 bits' time; for all widths. Lavin and Gray (2016) have its matrices, of which the fractions are taken together:
 *
 *     Bᵀ = |4 0 -5 0 1 0; 0 -4 -4 1 1 0; 0 4 -4 -1 1 0; 0 -2 -1 2 1 0; 0 2 -1 -2 1 0; 0 4 0 -5 0 1|
 *     G  = |6 0 0; 1 1 1; 1 -1 1; 1 2 4; 1 -2 4; 0 0 6|
 *     Aᵀ = |1 -4 -4 1 1 0; 0 -2 2 1 -1 0; 0 -1 -1 1 1 0; 0 -1 1 2 -2 1|   24, 12, 6 and 6 times the sums each way
 *
 * Inputs of 8 bits lie within -12750…17340, weights within ±49·128. Sums are taken modulo 2^32, in which 9 has an inverse; what
 * is left is at most 64 times a sum, which is exact for sums from -2^25 to below 2^25.
 */
namespace bitdial {

/** Whether an op's shape and widths suit; its codes may still not. */
bool winograd_suits(const Plan& plan, const Op& op);

/** The form of bytes that inputs of so many bits leave to weights: squares where their codes fit, or rows, or none. */
WinogradForm winograd_form(int in_bits, int weight_bits);

/** Whether every weight of a row [3][3][channels], transformed for squares, is a signed byte. */
bool winograd_fits(const int8_t* codes, size_t channels, int bits);

/** Whether 4 times a sum of a row stays in int32; `size` is Σ|code|. */
bool winograd_holds(int64_t size, int in_bits);

/** Whether a sum of a row stays within 2^25, either side of 0; `sum` is Σcode. */
bool winograd_large_holds(int64_t sum, int64_t size, int in_bits);

/** The form that each block of 16 rows of a convolution takes for so many images; none: the direct way. */
std::vector<WinogradForm> winograd_ways(const Kernels& kernels, const Op& op, size_t images);

}  // namespace bitdial
