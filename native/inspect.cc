#include <algorithm>

#include "execute.h"
#include "packing.h"
#include "quantize.h"
#include "winograd.h"

namespace bitdial {

Inspection inspect(const Plan& plan, const Kernels& kernels, size_t index, size_t images) {
  Inspection out;
  const Op& op = plan.ops.at(index);
  const Linear& l = op.linear;
  if (l.rows == 0) return out;
  if (kernels.winograd && l.winograd != WinogradUse::never) {
    const auto blocks = [&](WinogradForm form) {
      return static_cast<size_t>(std::count_if(l.winograd_blocks.begin(), l.winograd_blocks.end(),
                                               [&](WinogradForms forms) { return forms.has(form); }));
    };
    out.winograd_blocks = blocks(WinogradForm::square);
    out.winograd_row_blocks = blocks(WinogradForm::row);
    out.winograd_large_blocks = blocks(WinogradForm::large);
    const std::vector<WinogradForm> ways = winograd_ways(kernels, op, images);
    const auto taken = [&](WinogradForm form) { return static_cast<size_t>(std::count(ways.begin(), ways.end(), form)); };
    out.winograd_taken = {taken(WinogradForm::square), taken(WinogradForm::row), taken(WinogradForm::large)};
  }
  out.weights.resize(l.rows * l.columns);
  const bool has_scales = !plan.is_float || l.bits <= 8;
  if (has_scales) out.scales.assign(plan.memory.as<float>(l.scales_at), plan.memory.as<float>(l.scales_at) + l.rows);
  if (plan.is_float) {
    Scratch scratch;
    std::vector<float> decoded(out.weights.size());
    decode_floats(plan, kernels, op, 0, l.rows, scratch, decoded.data());
    const size_t lanes = op.kind == Kind::depthwise ? l.rows : kLanes;
    const float* from = decoded.data();
    for (size_t row = 0; row < l.rows; row += lanes) {
      const size_t n = std::min(lanes, l.rows - row);
      for (size_t c = 0; c < l.columns; c++) {
        for (size_t r = 0; r < n; r++) out.weights[(row + r) * l.columns + c] = *from++;
      }
    }
    out.bias.assign(plan.memory.as<float>(l.bias_at), plan.memory.as<float>(l.bias_at) + l.rows);
    return out;
  }
  std::vector<int8_t> codes(l.tail_rows() * l.columns);
  if (!codes.empty()) unpack_codes(plan.memory.data() + l.tail_at, codes.size(), l.bits, codes.data());
  const size_t full = l.full_blocks * kLanes;
  for (size_t row = full; row < l.rows; row++) {
    for (size_t c = 0; c < l.columns; c++) {
      const size_t at = op.kind == Kind::depthwise ? c * l.rows + row : (row - full) * l.columns + c;
      out.weights[row * l.columns + c] = codes[at];
    }
  }
  std::vector<int8_t> block(l.groups * 64);
  for (size_t b = 0; b < l.full_blocks; b++) {
    unpack_codes(plan.memory.data() + l.full_at + b * l.block_bytes, block.size(), l.bits, block.data());
    for (size_t r = 0; r < kLanes; r++) {
      for (size_t c = 0; c < l.columns; c++) {
        out.weights[(b * kLanes + r) * l.columns + c] = block[c / 4 * 64 + r * 4 + c % 4];
      }
    }
  }
  const int32_t zero = plan.tensors[op.inputs[0]].zero;
  for (size_t row = 0; row < l.rows; row++) {
    double sum = 0;
    for (size_t c = 0; c < l.columns; c++) sum += static_cast<double>(out.weights[row * l.columns + c]);
    const int32_t bias = plan.memory.as<int32_t>(l.bias_at)[row];
    out.bias.push_back(static_cast<float>(bias + zero * sum));
  }
  return out;
}

}  // namespace bitdial
