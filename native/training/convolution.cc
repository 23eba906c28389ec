#include "convolution.h"

#include <algorithm>

#include "sums.h"

namespace bitdial::training {
namespace {

/** Bytes of a strip: it stays in the second cache. */
constexpr size_t kStripBytes = 128 * 1024;
/** Rows of a matrix that are multiplied together. */
constexpr size_t kMatrixRows = 64;

size_t blocks_of(size_t channels) { return divided_up(channels, kBlock); }

/** A matrix as blocks of 16 columns. @param at where a row begins; its numbers are `step` floats apart */
template <typename At>
const float* pack(Context& context, size_t rows, size_t columns, size_t step, At at) {
  float* packed = reinterpret_cast<float*>(context.packed.ensure(rows * blocks_of(columns) * kBlock * sizeof(float)));
  const auto block = [&](size_t b, Memory&) {
    float* to = packed + b * rows * kBlock;
    const size_t n = std::min(kBlock, columns - b * kBlock);
    for (size_t k = 0; k < rows; k++, to += kBlock) {
      const float* from = at(k) + b * kBlock * step;
      for (size_t l = 0; l < n; l++) to[l] = from[l * step];
      std::fill_n(to + n, kBlock - n, 0.0f);
    }
  };
  if (rows * columns < 4096) for (size_t b = 0; b < blocks_of(columns); b++) block(b, context.packed);
  else context.crew.run(blocks_of(columns), block);
  return packed;
}

/** A convolution by packed weights: sizes of what is read and of what is written, whole images. */
struct Correlation {
  size_t batch, in_h, in_w, in_c, out_h, out_w, out_c;
  size_t stride_y, stride_x;
  Taps taps;
};

void correlate(Context& context, const Correlation& c, const float* in, const float* weights, float* out) {
  const Taps& t = c.taps;
  const auto reach_of = [&](size_t first, size_t rows) {
    const size_t height = t.rows > 0 ? (rows - 1) * c.stride_y + t.rows : 0;
    const size_t width = t.columns > 0 ? (t.out_columns - 1) * c.stride_x + t.columns : 0;
    return Reach{t.first_y + static_cast<long>(first * c.stride_y), t.first_x, height, width};
  };
  const size_t row_bytes = reach_of(0, 1).columns * c.in_c * sizeof(float) * c.stride_y;
  size_t rows = std::clamp<size_t>(kStripBytes / std::max<size_t>(row_bytes, 1), 1, t.out_rows);
  // A few images alone are shared by rows; what an output is does not depend on it.
  if (c.batch < 4 * context.crew.size()) rows = std::min(rows, divided_up(t.out_rows * c.batch, 4 * context.crew.size()));
  const size_t strips = divided_up(t.out_rows, rows);
  const size_t image_out = c.out_h * c.out_w * c.out_c;
  context.crew.run(c.batch * strips, [&](size_t unit, Memory& scratch) {
    const size_t n = unit / strips, first = unit % strips * rows, count = std::min(rows, t.out_rows - first);
    const Reach reach = reach_of(first, count);
    float* room = reinterpret_cast<float*>(scratch.ensure(reach.floats(c.in_c) * sizeof(float)));
    const Strip strip = reach_over(in + n * c.in_h * c.in_w * c.in_c, c.in_h, c.in_w, c.in_c, reach, room);
    std::vector<size_t> runs(t.rows);
    for (size_t r = 0; r < t.rows; r++) runs[r] = r * strip.row;
    PixelProduct p = {strip.data, c.stride_x * c.in_c, t.out_columns, runs.data(), t.rows, t.columns * c.in_c,
                      weights, nullptr, t.step_x * c.out_c, c.out_c};
    for (size_t y = 0; y < count; y++, p.in += c.stride_y * strip.row) {
      const size_t row = t.out_y + (first + y) * t.step_y;
      p.out = out + n * image_out + (row * c.out_w + t.out_x) * c.out_c;
      context.kernels.product(p);
    }
  });
}

/** Neighbouring pixels in, neighbouring pixels out, one tap: the product of two matrices. */
bool is_matrix(const Convolution& c) {
  return c.height == 1 && c.width == 1 && c.stride_y == 1 && c.stride_x == 1 && c.top == 0 && c.left == 0 &&
         c.in_h == c.out_h && c.in_w == c.out_w;
}

}  // namespace

void convolve(Context& context, const Convolution& c, const float* x, const float* w, float* y) {
  if (is_matrix(c)) return multiply(context, c.batch * c.in_h * c.in_w, c.in_c, c.out_c, x, w, false, y);
  const auto row = [&](size_t k) { return w + k * c.out_c; };
  const float* packed = pack(context, c.height * c.width * c.in_c, c.out_c, 1, row);
  const Correlation forward = {c.batch, c.in_h, c.in_w, c.in_c, c.out_h, c.out_w, c.out_c,
                               c.stride_y, c.stride_x, forward_taps(c)};
  correlate(context, forward, x, packed, y);
}

void convolution_input_gradient(Context& context, const Convolution& c, const float* dy, const float* w, float* dx) {
  if (is_matrix(c)) return multiply(context, c.batch * c.in_h * c.in_w, c.out_c, c.in_c, dy, w, true, dx);
  for (const Taps& t : gradient_taps(c)) {
    const size_t per_row = t.columns * c.out_c;
    const auto row = [&](size_t k) {
      const long ky = t.kernel_y + static_cast<long>(k / per_row) * t.kernel_step_y;
      const long kx = t.kernel_x + static_cast<long>(k % per_row / c.out_c) * t.kernel_step_x;
      return w + static_cast<size_t>(ky * static_cast<long>(c.width) + kx) * c.in_c * c.out_c + k % c.out_c;
    };
    const float* packed = pack(context, t.rows * per_row, c.in_c, c.out_c, row);
    correlate(context, {c.batch, c.out_h, c.out_w, c.out_c, c.in_h, c.in_w, c.in_c, 1, 1, t}, dy, packed, dx);
  }
}

void convolution_filter_gradient(Context& context, const Convolution& c, const float* x, const float* dy, float* dw) {
  if (is_matrix(c)) return multiply_transposed(context, c.batch * c.in_h * c.in_w, c.in_c, c.out_c, x, dy, dw);
  const size_t length = c.width * c.in_c, size = c.height * length * c.out_c;
  const size_t image_in = c.in_h * c.in_w * c.in_c, image_out = c.out_h * c.out_w * c.out_c;
  const auto add = [&](Memory& scratch, float* sums, size_t image, size_t images, size_t first, size_t rows) {
    size_t strip_image;
    const Strip strip = strips_of(c, x + image * image_in, images, first, rows, scratch, strip_image);
    const float* gradient = dy + image * image_out + first * c.out_w * c.out_c;
    OuterProduct o = {strip.data, gradient, images, rows, c.out_w, strip_image, c.stride_y * strip.row, c.stride_x * c.in_c,
                      image_out, c.out_w * c.out_c, c.out_c, length, c.out_c, sums};
    for (size_t ky = 0; ky < c.height; ky++, o.x += strip.row, o.sums += length * c.out_c) context.kernels.outer(o);
  };
  sum_over_images(context, c, size, dw, add);
}

void multiply(Context& context, size_t m, size_t k, size_t n, const float* a, const float* b, bool transposed, float* out) {
  const float* packed = transposed ? pack(context, k, n, k, [&](size_t row) { return b + row; })
                                   : pack(context, k, n, 1, [&](size_t row) { return b + row * n; });
  const size_t strips = divided_up(m, kMatrixRows);
  // Few rows are shared by columns.
  const size_t pairs = divided_up(blocks_of(n), 2);
  const size_t groups = strips < 4 * context.crew.size() ? std::min(pairs, divided_up(4 * context.crew.size(), strips)) : 1;
  const size_t columns = divided_up(pairs, groups) * 2 * kBlock;
  context.crew.run(strips * groups, [&](size_t unit, Memory&) {
    const size_t row = unit / groups * kMatrixRows, column = unit % groups * columns;
    if (column >= n) return;
    const size_t run = 0;
    context.kernels.product({a + row * k, k, std::min(kMatrixRows, m - row), &run, 1, k, packed + column * k,
                             out + row * n + column, n, std::min(columns, n - column)});
  });
}

void multiply_transposed(Context& context, size_t m, size_t k, size_t n, const float* a, const float* b, float* out) {
  // Long sums are taken in parts, wide ones in ranges of rows.
  constexpr size_t kLong = 4096, kRange = 48;
  const size_t parts = part_count(divided_up(m, kLong), k * n), ranges = divided_up(k, kRange);
  const size_t per_part = divided_up(m, parts);
  float* sums = zeroed_parts(context, parts, k * n);
  context.crew.run(parts * ranges, [&](size_t unit, Memory&) {
    const size_t part = unit / ranges, first = unit % ranges * kRange;
    const size_t begin = part * per_part, end = std::min(m, begin + per_part);
    // Pieces that stay in the first caches while every tile goes over them.
    constexpr size_t kPiece = 512;
    for (size_t row = begin; row < end; row += kPiece) {
      const size_t count = std::min(kPiece, end - row);
      context.kernels.outer({a + row * k + first, b + row * n, 1, 1, count, 0, 0, k, 0, 0, n, std::min(kRange, k - first), n,
                             sums + part * k * n + first * n});
    }
  });
  add_parts(context, sums, parts, k * n, out);
}

}  // namespace bitdial::training
