#include <algorithm>

#include "execute.h"
#include "windows.h"

namespace bitdial {

void run_depthwise(const Frame& f, const Op& op) {
  const Tensor &in = f.plan.tensors[op.inputs[0]], &out = f.plan.tensors[op.output];
  const Linear& l = op.linear;
  const size_t element = f.plan.is_float ? 4 : 1, per_image = size_t{out.height} * out.width;
  Scratch& s = f.scratch;
  const size_t count = l.rows * l.columns;
  Depthwise p = {};
  if (f.plan.is_float) {
    float* decoded = reinterpret_cast<float*>(s.tile.ensure(4 * count));
    decode_floats(f.plan, f.kernels, op, 0, l.rows, s, decoded);
    p.float_weights = decoded;
  } else {
    const size_t rounded = (count + 63) / 64 * 64;
    int8_t* codes = reinterpret_cast<int8_t*>(s.tile.ensure(rounded));
    f.kernels.unpack(f.plan.memory.data() + l.tail_at, rounded, l.bits, codes);
    p.weights = codes;
  }
  p.row_pitch = p.rows = l.rows;
  const Epilogue e = f.epilogue(op);
  const uint8_t fill = f.plan.is_float ? 0 : static_cast<uint8_t>(in.zero);
  std::vector<uint32_t> taps;
  for (size_t n = 0; n < f.images; n++) {
    const uint8_t* image = f.bytes(op.inputs[0]) + n * in.elements * element;
    const Padded padded = pad_images(op.window, image, 1, element, fill, op.channel_multiplier, s.padded);
    pixel_starts(op.window, padded.row, padded.image, l.rows, 0, per_image, s.pixels);
    taps.clear();
    for (size_t ky = 0; ky < op.window.kernel_height; ky++) {
      for (size_t kx = 0; kx < op.window.kernel_width; kx++) {
        taps.push_back(static_cast<uint32_t>(ky * op.window.dilation_height * padded.row +
                                             kx * op.window.dilation_width * l.rows));
      }
    }
    p.a = padded.data;
    p.float_a = reinterpret_cast<const float*>(padded.data);
    p.taps = taps.data();
    p.tap_count = taps.size();
    const size_t units = count * per_image < kShareWork ? 1 : std::min(per_image, 2 * f.team.size());
    const size_t step = (per_image + units - 1) / units;
    f.team.parallel((per_image + step - 1) / step, [&](size_t i, Scratch&) {
      Depthwise part = p;
      part.pixels = s.pixels.data() + i * step;
      part.count = std::min(step, per_image - i * step);
      part.epilogue = shifted(e, n * per_image + i * step, 0);
      if (f.plan.is_float) f.kernels.float_depthwise(part);
      else f.kernels.depthwise(part);
    });
  }
}

}  // namespace bitdial
