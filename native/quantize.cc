#include "quantize.h"

#include <algorithm>
#include <cmath>

#include "packing.h"
#include "scales.h"
#include "winograd.h"

namespace bitdial {
namespace {

constexpr double kBiasLimit = 1073741824.0;
constexpr double kSumLimit = 2147483647.0;

/** Floats of a unit, folded: rows × pitch, the range of each row with 0 in it, and its bias. Rows count as the op's. */
struct Folded {
  size_t first_row, columns, pitch;
  float* kernel;
  std::vector<float> least, greatest, bias;
  const float* row(size_t row) const { return kernel + (row - first_row) * pitch; }
  const float* bias_of(size_t row) const { return bias.data() + (row - first_row); }
  Channel channel(size_t r) const { return {row(r), columns, least[r - first_row], greatest[r - first_row]}; }
};

/** w·γ/√(σ² + ε) and β + (b - μ)·γ/√(σ² + ε) in float64, rounded once, less the correction (src/quantize/fold.ts). */
void fold(const Op& op, const Kernels& k, const std::vector<Source>& sources, const QuantizeUnit& unit,
          Scratch& scratch, Folded& out) {
  const LinearSource& s = op.source;
  const auto at = [&](int source, size_t row, double otherwise) {
    return source < 0 ? otherwise : static_cast<double>(sources[static_cast<size_t>(source)].data[row]);
  };
  const size_t rows = op.linear.rows, columns = op.linear.columns;
  out.first_row = unit.first_row;
  out.columns = columns;
  // Off the power of two, or the rows would share cache sets.
  out.pitch = (columns + 15) / 16 * 16 + 16;
  out.kernel = reinterpret_cast<float*>(scratch.tile.ensure(4 * unit.rows * out.pitch));
  out.bias.resize(unit.rows);
  out.least.resize(unit.rows);
  out.greatest.resize(unit.rows);
  std::vector<double> scale(unit.rows, 1.0);
  for (size_t r = 0; r < unit.rows; r++) {
    const size_t row = unit.first_row + r;
    double shift = 0;
    if (s.mean >= 0) {
      scale[r] = at(s.gamma, row, 1) / std::sqrt(at(s.variance, row, 0) + s.epsilon);
      shift = at(s.beta, row, 0) - at(s.mean, row, 0) * scale[r];
    }
    if (s.affine) {
      out.kernel[r * out.pitch] = static_cast<float>(scale[r]);
      out.bias[r] = static_cast<float>(shift);
    } else {
      out.bias[r] = static_cast<float>(at(s.bias, row, 0) * scale[r] + shift);
    }
    if (s.correction >= 0) out.bias[r] -= sources[static_cast<size_t>(s.correction)].data[row];
  }
  bool finite = true;
  for (const float b : out.bias) finite = finite && std::isfinite(b);
  const auto widen = [&](size_t r, float w) {
    out.least[r] = std::min(out.least[r], w);
    out.greatest[r] = std::max(out.greatest[r], w);
    finite = finite && std::isfinite(w);
  };
  if (s.affine) {
    for (size_t r = 0; r < unit.rows; r++) widen(r, out.kernel[r * out.pitch]);
  } else {
    const float* from = sources[static_cast<size_t>(s.kernel)].data + unit.first_row;
    size_t r = unit.rows / kLanes * kLanes;
    finite = k.fold(from, rows, columns, r, scale.data(), out.kernel, out.pitch, out.least.data(),
                    out.greatest.data()) && finite;
    for (; r < unit.rows; r++) {
      for (size_t c = 0; c < columns; c++) {
        const float w = static_cast<float>(static_cast<double>(from[c * rows + r]) * scale[r]);
        out.kernel[r * out.pitch + c] = w;
        widen(r, w);
      }
    }
  }
  if (!finite) throw LayerError(unit.op, "expected finite weights, got one that is not");
}

/** Codes of a unit's rows, [row][columns], and their biases and multipliers into the plan. @returns the forms of Winograd they suit */
WinogradForms code_integer(Plan& plan, const Kernels& k, const QuantizeUnit& unit, const Folded& folded, int8_t* codes) {
  const Op& op = plan.ops[unit.op];
  const Linear& l = op.linear;
  const Tensor &in = plan.tensors[op.inputs[0]], &out = plan.tensors[op.output];
  const double in_scale = static_cast<double>(in.scale);
  const double out_scale = out.storage == Storage::codes ? static_cast<double>(out.scale) : 1.0;
  const double largest = std::max(in.zero, (1 << in.bits) - 1 - in.zero);
  int32_t* bias = plan.memory.as<int32_t>(l.bias_at) + unit.first_row;
  float* multipliers = plan.memory.as<float>(l.scales_at) + unit.first_row;
  const bool suits = l.winograd != WinogradUse::never;
  WinogradForm form = suits ? winograd_form(in.bits, l.bits) : WinogradForm::none;
  bool large = suits;
  int hint = 0;
  for (size_t r = 0; r < unit.rows; r++) {
    const Channel channel = folded.channel(unit.first_row + r);
    float scale = channel_scale(k, channel, l.bits, op.source.rule, hint);
    const double b = static_cast<double>(*folded.bias_of(unit.first_row + r));
    const float least = static_cast<float>(std::fabs(b) / (in_scale * kBiasLimit));
    if (std::fabs(scale) < least) scale = scale < 0 ? -least : least;
    int8_t* row = codes + r * l.columns;
    const auto [sum, size] = k.codes(channel.w, l.columns, scale, l.bits, row);
    const double step = in_scale * static_cast<double>(scale);
    const double rounded = std::nearbyint(b / step);
    if (!(std::fabs(rounded) + static_cast<double>(size) * largest <= kSumLimit)) {
      throw LayerError(unit.op, std::to_string(l.columns) + " inputs could overflow the 32-bit accumulator");
    }
    if (form == WinogradForm::square && !winograd_fits(row, op.window.channels, l.bits)) form = WinogradForm::row;
    if (form != WinogradForm::none && !winograd_holds(size, in.bits)) form = WinogradForm::none;
    large = large && winograd_large_holds(sum, size, in.bits);
    // What the zero point adds to every sum; modulo 2^32, as the sums are.
    const uint32_t zero = static_cast<uint32_t>(static_cast<uint64_t>(sum * in.zero));
    bias[r] = static_cast<int32_t>(static_cast<uint32_t>(static_cast<int32_t>(rounded)) - zero);
    multipliers[r] = static_cast<float>(step / out_scale);
  }
  WinogradForms forms;
  if (form != WinogradForm::none) forms.add(form);
  if (large) forms.add(WinogradForm::large);
  return forms;
}

/** [row][columns] to [columns][rows]. */
template <typename T>
void transpose(const T* from, size_t rows, size_t columns, size_t pitch, T* to) {
  for (size_t r = 0; r < rows; r++) {
    for (size_t c = 0; c < columns; c++) to[c * rows + r] = from[r * pitch + c];
  }
}

void pack_integer(const Plan& plan, const Kernels& k, const QuantizeUnit& unit, const int8_t* codes,
                  Scratch& scratch) {
  const Op& op = plan.ops[unit.op];
  const Linear& l = op.linear;
  if (op.kind == Kind::depthwise) {
    int8_t* turned = reinterpret_cast<int8_t*>(scratch.gathered.ensure(l.rows * l.columns));
    transpose(codes, l.rows, l.columns, l.columns, turned);
    pack_codes(turned, l.rows * l.columns, l.bits, plan.memory.data() + l.tail_at);
    return;
  }
  const size_t block = unit.first_row / kLanes;
  if (block >= l.full_blocks) {
    const size_t first = (unit.first_row - l.full_blocks * kLanes) * l.columns;
    pack_codes(codes, unit.rows * l.columns, l.bits, plan.memory.data() + l.tail_at + first * l.bits / 8);
    return;
  }
  uint8_t* out = plan.memory.data() + l.full_at + block * l.block_bytes;
  if (l.columns % 4 == 0) {
    // Four codes are a word.
    uint8_t* turned = scratch.gathered.ensure(kLanes * l.columns);
    k.turn(reinterpret_cast<const uint32_t*>(codes), l.groups, l.groups, reinterpret_cast<uint32_t*>(turned));
    pack_codes(reinterpret_cast<const int8_t*>(turned), kLanes * l.columns, l.bits, out);
    return;
  }
  for (size_t g = 0; g < l.groups; g++) {
    int8_t group[64] = {};
    const size_t n = std::min<size_t>(4, l.columns - 4 * g);
    for (size_t r = 0; r < kLanes; r++) std::memcpy(group + 4 * r, codes + r * l.columns + 4 * g, n);
    pack_codes(group, 64, l.bits, out + g * 8 * static_cast<size_t>(l.bits));
  }
}

void store_float(Plan& plan, const Kernels& k, const QuantizeUnit& unit, const Folded& folded, Scratch& scratch) {
  const Op& op = plan.ops[unit.op];
  const Linear& l = op.linear;
  std::copy_n(folded.bias_of(unit.first_row), unit.rows, plan.memory.as<float>(l.bias_at) + unit.first_row);
  const size_t lanes = op.kind == Kind::depthwise ? l.rows : kLanes;
  const size_t block = unit.first_row / lanes;
  uint8_t* out = plan.memory.data() + (block < l.full_blocks ? l.full_at + block * l.block_bytes : l.tail_at);
  const size_t count = unit.rows * l.columns;
  if (l.bits > 8) {
    if (l.bits == 32) {
      transpose(folded.row(unit.first_row), unit.rows, l.columns, folded.pitch, reinterpret_cast<float*>(out));
    } else {
      float* turned = reinterpret_cast<float*>(scratch.gathered.ensure(4 * count));
      transpose(folded.row(unit.first_row), unit.rows, l.columns, folded.pitch, turned);
      k.to_half(turned, count, reinterpret_cast<uint16_t*>(out));
    }
    return;
  }
  int8_t* codes = reinterpret_cast<int8_t*>(scratch.unpacked.ensure(count));
  int8_t* turned = reinterpret_cast<int8_t*>(scratch.gathered.ensure(count));
  float* scales = plan.memory.as<float>(l.scales_at) + unit.first_row;
  int hint = 0;
  for (size_t r = 0; r < unit.rows; r++) {
    const Channel channel = folded.channel(unit.first_row + r);
    scales[r] = channel_scale(k, channel, l.bits, op.source.rule, hint);
    k.codes(channel.w, l.columns, scales[r], l.bits, codes + r * l.columns);
  }
  transpose(codes, unit.rows, l.columns, l.columns, turned);
  pack_codes(turned, count, l.bits, out);
}

}  // namespace

std::vector<QuantizeUnit> quantize_units(const Plan& plan) {
  std::vector<QuantizeUnit> units;
  for (size_t i = 0; i < plan.ops.size(); i++) {
    const size_t rows = plan.ops[i].linear.rows;
    const size_t step = plan.ops[i].kind == Kind::depthwise ? rows : kUnitBlocks * kLanes;
    for (size_t row = 0; row < rows; row += step) units.push_back({i, row, std::min(step, rows - row)});
  }
  std::stable_sort(units.begin(), units.end(), [&](const QuantizeUnit& a, const QuantizeUnit& b) {
    return a.rows * plan.ops[a.op].linear.columns > b.rows * plan.ops[b.op].linear.columns;
  });
  return units;
}

UnitForms quantize(Plan& plan, const Kernels& kernels, const std::vector<Source>& sources, const QuantizeUnit& unit,
                   Scratch& scratch) {
  const Op& op = plan.ops[unit.op];
  Folded folded;
  fold(op, kernels, sources, unit, scratch, folded);
  UnitForms forms = {};
  const size_t step = op.kind == Kind::depthwise ? unit.rows : kLanes;
  for (size_t row = 0; row < unit.rows; row += step) {
    const QuantizeUnit block = {unit.op, unit.first_row + row, std::min(step, unit.rows - row)};
    if (plan.is_float) {
      store_float(plan, kernels, block, folded, scratch);
      continue;
    }
    int8_t* codes = reinterpret_cast<int8_t*>(scratch.unpacked.ensure(block.rows * op.linear.columns));
    forms[row / step] = code_integer(plan, kernels, block, folded, codes);
    pack_integer(plan, kernels, block, codes, scratch);
  }
  return forms;
}

}  // namespace bitdial
