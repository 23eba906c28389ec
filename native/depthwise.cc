#include <algorithm>

#include "execute.h"
#include "windows.h"

namespace bitdial {
namespace {

/** Weights as the kernels take them; those that lie so already stay where they are. */
void take_weights(const Frame& f, const Op& op, Depthwise& p) {
  const Linear& l = op.linear;
  const size_t count = l.rows * l.columns;
  Memory& room = f.scratch.tile;
  if (f.plan.is_float) {
    p.float_weights = f.plan.memory.as<float>(l.full_at);
    if (l.bits == 32) return;
    float* decoded = reinterpret_cast<float*>(room.ensure(4 * count));
    decode_floats(f.plan, f.kernels, op, 0, l.rows, f.scratch, decoded);
    p.float_weights = decoded;
  } else {
    p.weights = f.plan.memory.as<int8_t>(l.tail_at);
    if (l.bits == 8) return;
    const size_t rounded = (count + 63) / 64 * 64;
    int8_t* codes = reinterpret_cast<int8_t*>(room.ensure(rounded));
    f.kernels.unpack(f.plan.memory.data() + l.tail_at, rounded, l.bits, codes);
    p.weights = codes;
  }
}

}  // namespace

void run_depthwise(const Frame& f, const Op& op) {
  const Tensor &in = f.plan.tensors[op.inputs[0]], &out = f.plan.tensors[op.output];
  const Linear& l = op.linear;
  const size_t element = f.plan.is_float ? 4 : 1, per_image = size_t{out.height} * out.width;
  Depthwise p = {};
  take_weights(f, op, p);
  p.fill = f.plan.is_float ? 0 : static_cast<uint8_t>(in.zero);
  p.window = op.window;
  p.window.channels = static_cast<uint32_t>(l.rows);
  if (op.channel_multiplier > 1) {
    p.window.in_height = static_cast<uint32_t>(span_height(op.window));
    p.window.in_width = static_cast<uint32_t>(span_width(op.window));
    p.window.pad_top = p.window.pad_left = 0;
  }
  const Epilogue e = f.epilogue(op);
  const size_t team = f.team.size(), lines = out.height;
  const size_t units = team == 1 || l.rows * l.columns * per_image < kShareWork ? 1 : std::min(lines, 2 * team);
  const size_t step = (lines + units - 1) / units;
  for (size_t n = 0; n < f.images; n++) {
    p.a = f.bytes(op.inputs[0]) + n * in.elements * element;
    if (op.channel_multiplier > 1) {
      p.a = pad_images(op.window, p.a, 1, element, p.fill, op.channel_multiplier, f.scratch.padded).data;
    }
    p.float_a = reinterpret_cast<const float*>(p.a);
    p.epilogue = shifted(e, n * per_image, 0);
    f.team.parallel((lines + step - 1) / step, [&](size_t i, Scratch&) {
      Depthwise part = p;
      part.first_line = i * step;
      part.lines = std::min(step, lines - i * step);
      if (f.plan.is_float) f.kernels.float_depthwise(part);
      else f.kernels.depthwise(part);
    });
  }
}

}  // namespace bitdial
