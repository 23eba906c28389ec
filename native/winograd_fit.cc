#include <algorithm>
#include <cstdint>
#include <cstdlib>

#include "winograd.h"

namespace bitdial {
namespace {
/** Activations and weights of so many bits suit squares, and rows, of bytes. */
constexpr int kSquareBits = 6, kRowBits = 7, kWeightBits = 6;
}  // namespace

bool winograd_suits(const Plan& plan, const Op& op) {
  if (op.kind != Kind::conv) return false;
  const WindowShape& w = op.window;
  const Tensor &in = plan.tensors[op.inputs[0]], &out = plan.tensors[op.output];
  const bool shape = w.kernel_height == 3 && w.kernel_width == 3 && w.stride_height == 1 && w.stride_width == 1 &&
                     w.dilation_height == 1 && w.dilation_width == 1;
  return shape && in.channels % 4 == 0 && op.linear.full_blocks > 0 && out.storage == Storage::codes;
}

WinogradForm winograd_form(int in_bits, int weight_bits) {
  if (in_bits > kRowBits || weight_bits > kWeightBits) return WinogradForm::none;
  return in_bits <= kSquareBits ? WinogradForm::square : WinogradForm::row;
}

bool winograd_fits(const int8_t* codes, size_t channels, int bits) {
  if (bits <= 4) return true;
  // Up to 6 bits only the sums of nine, at the four inner positions, can be too large.
  const int8_t* tap[9];
  for (size_t t = 0; t < 9; t++) tap[t] = codes + t * channels;
  constexpr size_t kStep = 256;
  for (size_t begin = 0; begin < channels; begin += kStep) {
    uint16_t outside = 0;
    for (size_t c = begin; c < std::min(channels, begin + kStep); c++) {
      const int16_t corners = static_cast<int16_t>(tap[0][c] + tap[2][c] + tap[6][c] + tap[8][c]);
      const int16_t sides = static_cast<int16_t>(tap[3][c] + tap[5][c]);
      const int16_t ends = static_cast<int16_t>(tap[1][c] + tap[7][c]);
      const int16_t even = static_cast<int16_t>(corners + tap[4][c]), odd = static_cast<int16_t>(sides + ends);
      const int16_t cross = static_cast<int16_t>(corners - tap[4][c]), turn = static_cast<int16_t>(sides - ends);
      for (const int sum : {even + odd, even - odd, cross + turn, cross - turn}) {
        outside = static_cast<uint16_t>(outside | static_cast<uint16_t>(sum + 128));
      }
    }
    if (outside > 255) return false;
  }
  return true;
}

bool winograd_holds(int64_t size, int in_bits) { return size * ((1 << in_bits) - 1) <= INT32_MAX / 4; }

bool winograd_large_holds(int64_t sum, int64_t size, int in_bits) {
  // Half of it is Σ of the codes above 0, and of those below.
  return (size + std::abs(sum)) * ((1 << in_bits) - 1) < (int64_t{1} << 26);
}

}  // namespace bitdial
