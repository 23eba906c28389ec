#include "sums.h"

namespace bitdial::training {
namespace {

/** Where the taps of a strip begin, in floats. */
std::vector<size_t> tap_starts(size_t rows, size_t columns, size_t row, size_t channels) {
  std::vector<size_t> starts;
  for (size_t y = 0; y < rows; y++) {
    for (size_t x = 0; x < columns; x++) starts.push_back(y * row + x * channels);
  }
  return starts;
}

/** One image a unit; weights: [tap][channels]. The sizes are those of what is read and what is written. */
void correlate(Context& context, const Convolution& c, const Taps& t, size_t stride_y, size_t stride_x, const float* in,
               const float* weights, float* out) {
  const size_t channels = c.in_c;
  const Reach reach = {t.first_y, t.first_x, t.rows > 0 ? (t.out_rows - 1) * stride_y + t.rows : 0,
                       t.columns > 0 ? (t.out_columns - 1) * stride_x + t.columns : 0};
  context.crew.run(c.batch, [&](size_t n, Memory& scratch) {
    float* room = reinterpret_cast<float*>(scratch.ensure(reach.floats(channels) * sizeof(float)));
    const Strip strip = reach_over(in + n * c.in_h * c.in_w * channels, c.in_h, c.in_w, channels, reach, room);
    const std::vector<size_t> taps = tap_starts(t.rows, t.columns, strip.row, channels);
    DepthwiseProduct p = {strip.data, stride_x * channels, t.out_columns, taps.data(), taps.size(), weights, nullptr,
                          t.step_x * channels, channels};
    for (size_t y = 0; y < t.out_rows; y++, p.in += stride_y * strip.row) {
      p.out = out + ((n * c.out_h + t.out_y + y * t.step_y) * c.out_w + t.out_x) * channels;
      context.kernels.depthwise(p);
    }
  });
}

}  // namespace

void depthwise_convolve(Context& context, const Convolution& c, const float* x, const float* w, float* y) {
  correlate(context, c, forward_taps(c), c.stride_y, c.stride_x, x, w, y);
}

void depthwise_input_gradient(Context& context, const Convolution& c, const float* dy, const float* w, float* dx) {
  Convolution turned = c;
  std::swap(turned.in_h, turned.out_h);
  std::swap(turned.in_w, turned.out_w);
  const size_t channels = c.in_c;
  for (const Taps& t : gradient_taps(c)) {
    float* weights = reinterpret_cast<float*>(context.packed.ensure(t.rows * t.columns * channels * sizeof(float)));
    for (size_t i = 0; i < t.rows * t.columns; i++) {
      const long ky = t.kernel_y + static_cast<long>(i / t.columns) * t.kernel_step_y;
      const long kx = t.kernel_x + static_cast<long>(i % t.columns) * t.kernel_step_x;
      std::copy_n(w + static_cast<size_t>(ky * static_cast<long>(c.width) + kx) * channels, channels, weights + i * channels);
    }
    correlate(context, turned, t, 1, 1, dy, weights, dx);
  }
}

void depthwise_filter_gradient(Context& context, const Convolution& c, const float* x, const float* dy, float* dw) {
  const size_t channels = c.in_c, image_in = c.in_h * c.in_w * channels, line = c.out_w * channels;
  const auto add = [&](Memory& scratch, float* sums, size_t image, size_t images, size_t first, size_t rows) {
    size_t strip_image;
    const Strip strip = strips_of(c, x + image * image_in, images, first, rows, scratch, strip_image);
    const std::vector<size_t> taps = tap_starts(c.height, c.width, strip.row, channels);
    for (size_t i = 0; i < images; i++) {
      const float* gradient = dy + ((image + i) * c.out_h + first) * line;
      context.kernels.depthwise_outer({strip.data + i * strip_image, gradient, rows, c.out_w, c.stride_y * strip.row,
                                       c.stride_x * channels, line, taps.data(), taps.size(), channels, sums});
    }
  };
  sum_over_images(context, c, c.height * c.width * channels, dw, add);
}

}  // namespace bitdial::training
