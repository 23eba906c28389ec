#pragma once

#include <array>
#include <vector>

#include "execute.h"

namespace bitdial {

/** Weights that cannot be quantised: which op, and why. */
struct LayerError : std::runtime_error {
  LayerError(size_t op_index, const std::string& what) : std::runtime_error(what), op(op_index) {}
  size_t op;
};

/** Rows of one op that are quantised together: whole blocks of 16, or what is left. */
struct QuantizeUnit {
  size_t op, first_row, rows;
};
/** Blocks of a unit: two lines of a cache, which come from memory as a pair. */
constexpr size_t kUnitBlocks = 2;
using UnitForms = std::array<WinogradForms, kUnitBlocks>;

/** All of a plan, those of an op in order; large ones first, or threads would wait for the last of them. */
std::vector<QuantizeUnit> quantize_units(const Plan& plan);

/**
 * Folds, finds scales, codes and packs some rows, as src/quantize does, bit for bit. Units write to places of their own,
 * so they may run on different threads.
 * @returns the Winograd forms that each block's codes suit (winograd.h)
 * @throws LayerError where a weight is not finite or a sum could leave int32
 */
UnitForms quantize(Plan& plan, const Kernels& kernels, const std::vector<Source>& sources, const QuantizeUnit& unit,
                   Scratch& scratch);

/** What a plan holds for an op, for tests: codes or values [row][column], bias, multipliers or scales. */
struct Inspection {
  std::vector<float> weights, bias, scales;
  /** Blocks of 16 rows that may go the Winograd way in squares, along rows, and in large squares. */
  size_t winograd_blocks = 0, winograd_row_blocks = 0, winograd_large_blocks = 0;
  /** Those that do, in that order. */
  std::array<size_t, 3> winograd_taken = {};
};
/** @param images that run together, which the Winograd way taken depends on */
Inspection inspect(const Plan& plan, const Kernels& kernels, size_t op, size_t images);

}  // namespace bitdial
