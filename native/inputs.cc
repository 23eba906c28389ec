#include <algorithm>

#include "execute.h"
#include "windows.h"

namespace bitdial {

Epilogue shifted(Epilogue e, size_t pixel, size_t row) {
  const size_t at = pixel * e.pitch + row;
  if (e.bias) e.bias += row;
  if (e.multipliers) e.multipliers += row;
  if (e.float_bias) e.float_bias += row;
  if (e.residual) e.residual += at;
  if (e.float_residual) e.float_residual += at;
  if (e.codes) e.codes += at;
  if (e.floats) e.floats += at;
  return e;
}

void decode_floats(const Plan& plan, const Kernels& kernels, const Op& op, size_t first_row, size_t rows,
                   Scratch& scratch, float* out) {
  const Linear& l = op.linear;
  const size_t lanes = op.kind == Kind::depthwise ? l.rows : kLanes;
  const float* scales = plan.memory.as<float>(l.scales_at);
  for (size_t row = first_row; row < first_row + rows; row += lanes) {
    const size_t block = row / lanes, n = std::min(lanes, l.rows - row), count = n * l.columns;
    const uint8_t* from = plan.memory.data() + (block < l.full_blocks ? l.full_at + block * l.block_bytes : l.tail_at);
    if (l.bits == 32) {
      std::memcpy(out, from, 4 * count);
    } else if (l.bits == 16) {
      kernels.from_half(reinterpret_cast<const uint16_t*>(from), count, out);
    } else {
      const size_t rounded = (count + 63) / 64 * 64;
      int8_t* codes = reinterpret_cast<int8_t*>(scratch.unpacked.ensure(rounded));
      kernels.unpack(from, rounded, l.bits, codes);
      for (size_t c = 0, i = 0; c < l.columns; c++) {
        for (size_t r = 0; r < n; r++, i++) out[i] = static_cast<float>(codes[i]) * scales[row + r];
      }
    }
    out += count;
  }
}

Padded pad_images(const WindowShape& w, const uint8_t* images, size_t count, size_t element, uint8_t fill,
                  uint32_t multiplier, Memory& scratch) {
  const size_t height = span_height(w), width = span_width(w);
  const size_t channels = size_t{w.channels} * multiplier;
  const size_t in_row = size_t{w.in_width} * w.channels * element, in_image = in_row * w.in_height;
  if (multiplier == 1 && w.pad_top == 0 && w.pad_left == 0 && height <= w.in_height && width <= w.in_width) {
    return {images, in_row / element, in_image / element};
  }
  const size_t pixel = channels * element, row = width * pixel;
  uint8_t* to = scratch.ensure(count * height * row);
  const size_t left = std::min<size_t>(w.pad_left, width) * pixel;
  const size_t inside = w.pad_left >= width ? 0 : std::min<size_t>(w.in_width, width - w.pad_left);
  for (size_t n = 0; n < count; n++, images += in_image) {
    for (size_t y = 0; y < height; y++, to += row) {
      if (y < w.pad_top || y - w.pad_top >= w.in_height) {
        std::memset(to, fill, row);
        continue;
      }
      const uint8_t* from = images + (y - w.pad_top) * in_row;
      std::memset(to, fill, left);
      if (multiplier == 1) {
        std::memcpy(to + left, from, inside * pixel);
      } else {
        uint8_t* at = to + left;
        for (size_t c = 0; c < inside * w.channels; c++, from += element) {
          for (uint32_t m = 0; m < multiplier; m++, at += element) std::memcpy(at, from, element);
        }
      }
      std::memset(to + left + inside * pixel, fill, row - left - inside * pixel);
    }
  }
  return {scratch.data(), row / element, height * row / element};
}

}  // namespace bitdial
