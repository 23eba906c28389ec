#include "layers.h"

#include <cmath>

#include "sums.h"

namespace bitdial::training {
namespace {

/** Elements that a thread takes at a time. */
constexpr size_t kPiece = 32 * 1024;

/** Calls work(first, count) for pieces of n elements. */
template <typename Work>
void in_pieces(Context& context, size_t n, Work work) {
  context.crew.run(divided_up(n, kPiece), [&](size_t i, Memory&) { work(i * kPiece, std::min(kPiece, n - i * kPiece)); });
}

size_t pixels_in_piece(size_t channels) { return std::max<size_t>(kPiece / channels, 1); }

/** The same for pixels. */
template <typename Work>
void in_pixels(Context& context, size_t pixels, size_t channels, Work work) {
  const size_t step = pixels_in_piece(channels);
  context.crew.run(divided_up(pixels, step), [&](size_t i, Memory&) { work(i * step, std::min(step, pixels - i * step)); });
}

/** Room for `rows` lines of numbers for each piece of pixels: [piece][row][channels]. */
float* room_for_pieces(Context& context, size_t pixels, size_t channels, size_t rows) {
  const size_t pieces = divided_up(pixels, pixels_in_piece(channels));
  return reinterpret_cast<float*>(context.partial.ensure(pieces * rows * channels * sizeof(float)));
}

}  // namespace

void batch_norm(Context& context, size_t pixels, size_t channels, const float* x, const float* gamma, const float* beta,
                float epsilon, float* y, Statistics given) {
  const size_t step = pixels_in_piece(channels);
  float* room = room_for_pieces(context, pixels, channels, 2);
  in_pixels(context, pixels, channels, [&](size_t first, size_t count) {
    float* sums = room + first / step * 2 * channels;
    const float* from = x + first * channels;
    context.kernels.moments(from, count, channels, from, sums, sums + channels);
  });
  std::vector<double> mean(channels), deviations(channels);
  for (size_t first = 0; first < pixels; first += step) {
    const double count = static_cast<double>(std::min(step, pixels - first)), before = static_cast<double>(first);
    const float *sums = room + first / step * 2 * channels, *squares = sums + channels;
    for (size_t c = 0; c < channels; c++) {
      const double shifted = sums[c] / count, here = x[first * channels + c] + shifted;
      const double apart = here - mean[c];
      mean[c] += apart * count / (before + count);
      deviations[c] += squares[c] - shifted * sums[c] + apart * apart * before * count / (before + count);
    }
  }
  for (size_t c = 0; c < channels; c++) {
    const double variance = deviations[c] / static_cast<double>(pixels);
    given.mean[c] = static_cast<float>(mean[c]);
    given.variance[c] = static_cast<float>(variance < 0 ? 0 : variance);
  }
  normalize(context, pixels, channels, x, given, gamma, beta, epsilon, y);
}

void normalize(Context& context, size_t pixels, size_t channels, const float* x, Statistics given, const float* gamma,
               const float* beta, float epsilon, float* y) {
  std::vector<float> scale(channels);
  for (size_t c = 0; c < channels; c++) {
    scale[c] = static_cast<float>(gamma[c] / std::sqrt(given.variance[c] + double{epsilon}));
  }
  in_pixels(context, pixels, channels, [&](size_t first, size_t count) {
    context.kernels.normalize(x + first * channels, count, channels, given.mean, scale.data(), beta, y + first * channels);
  });
}

void batch_norm_gradient(Context& context, size_t pixels, size_t channels, const float* dy, const float* x,
                         const float* gamma, Statistics given, float epsilon, float* dx, float* dgamma, float* dbeta) {
  const size_t step = pixels_in_piece(channels);
  float* room = room_for_pieces(context, pixels, channels, 2);
  in_pixels(context, pixels, channels, [&](size_t first, size_t count) {
    float* sums = room + first / step * 2 * channels;
    context.kernels.gradient_sums(dy + first * channels, x + first * channels, count, channels, given.mean, sums,
                                  sums + channels);
  });
  std::vector<double> sums(channels), products(channels);
  for (size_t first = 0; first < pixels; first += step) {
    const float *part = room + first / step * 2 * channels;
    for (size_t c = 0; c < channels; c++) {
      sums[c] += part[c];
      products[c] += part[channels + c];
    }
  }
  std::vector<float> scale(channels), slope(channels), offset(channels);
  for (size_t c = 0; c < channels; c++) {
    // dx = γ/σ·(dy − mean(dy) − (x − μ)·mean(dy·(x − μ))/σ²), σ² with ε.
    const double inverse = 1 / std::sqrt(given.variance[c] + double{epsilon}), count = static_cast<double>(pixels);
    const double factor = gamma[c] * inverse;
    dgamma[c] = static_cast<float>(products[c] * inverse);
    dbeta[c] = static_cast<float>(sums[c]);
    scale[c] = static_cast<float>(factor);
    slope[c] = static_cast<float>(-factor * inverse * inverse * products[c] / count);
    offset[c] = static_cast<float>(-factor * sums[c] / count);
  }
  in_pixels(context, pixels, channels, [&](size_t first, size_t count) {
    const size_t at = first * channels;
    context.kernels.normal_gradient(dy + at, x + at, count, channels, given.mean, scale.data(), slope.data(), offset.data(),
                                    dx + at);
  });
}

void sum_channels(Context& context, size_t pixels, size_t channels, const float* x, float* sums) {
  const size_t step = pixels_in_piece(channels);
  float* room = room_for_pieces(context, pixels, channels, 1);
  in_pixels(context, pixels, channels, [&](size_t first, size_t count) {
    context.kernels.channel_sums(x + first * channels, count, channels, room + first / step * channels);
  });
  std::vector<double> totals(channels);
  for (size_t first = 0; first < pixels; first += step) {
    for (size_t c = 0; c < channels; c++) totals[c] += room[first / step * channels + c];
  }
  for (size_t c = 0; c < channels; c++) sums[c] = static_cast<float>(totals[c]);
}

void max_pool(Context& context, size_t batch, const PoolWindow& w, const float* x, float* y) {
  context.crew.run(batch, [&](size_t n, Memory&) {
    const float* image = x + n * w.in_height * w.in_width * w.channels;
    context.kernels.max_pool(w, image, y + n * w.out_height * w.out_width * w.channels);
  });
}

void max_pool_gradient(Context& context, size_t batch, const PoolWindow& w, const float* x, const float* dy, float* dx) {
  const size_t in = w.in_height * w.in_width * w.channels, out = w.out_height * w.out_width * w.channels;
  context.crew.run(batch, [&](size_t n, Memory&) {
    std::fill_n(dx + n * in, in, 0.0f);
    context.kernels.max_pool_gradient(w, x + n * in, dy + n * out, dx + n * in);
  });
}

void relu(Context& context, size_t n, const float* x, float top, float* y) {
  in_pieces(context, n, [&](size_t first, size_t count) { context.kernels.relu(x + first, count, top, y + first); });
}

void relu_gradient(Context& context, size_t n, const float* dy, const float* y, float top, float* dx) {
  in_pieces(context, n, [&](size_t first, size_t count) {
    context.kernels.relu_gradient(dy + first, y + first, count, top, dx + first);
  });
}

void add(Context& context, size_t n, const float* a, const float* b, float* out) {
  in_pieces(context, n, [&](size_t first, size_t count) { context.kernels.add(a + first, b + first, count, out + first); });
}

void add_channels(Context& context, size_t pixels, size_t channels, const float* x, const float* bias, float* out) {
  in_pixels(context, pixels, channels, [&](size_t first, size_t count) {
    context.kernels.add_channels(x + first * channels, bias, count, channels, out + first * channels);
  });
}

void add_sign(Context& context, size_t n, const float* x, const float* g, float step, float* out) {
  in_pieces(context, n, [&](size_t first, size_t count) {
    context.kernels.add_sign(x + first, g + first, count, step, out + first);
  });
}

namespace {

float sum_of(Context& context, size_t n, const float* x, float (*sum)(const float*, size_t)) {
  float* room = reinterpret_cast<float*>(context.partial.ensure(divided_up(n, kPiece) * sizeof(float)));
  in_pieces(context, n, [&](size_t first, size_t count) { room[first / kPiece] = sum(x + first, count); });
  double total = 0;
  for (size_t i = 0; i < divided_up(n, kPiece); i++) total += room[i];
  return static_cast<float>(total);
}

}  // namespace

float absolute_sum(Context& context, size_t n, const float* x) { return sum_of(context, n, x, context.kernels.absolute_sum); }

float square_sum(Context& context, size_t n, const float* x) { return sum_of(context, n, x, context.kernels.square_sum); }

void fake_quantize(Context& context, size_t n, const float* x, float low, float high, float scale, float* y) {
  in_pieces(context, n, [&](size_t first, size_t count) {
    context.kernels.fake_quantize(x + first, count, low, high, scale, y + first);
  });
}

void pass_between(Context& context, size_t n, const float* dy, const float* x, float low, float high, float* dx) {
  in_pieces(context, n, [&](size_t first, size_t count) {
    context.kernels.pass_between(dy + first, x + first, count, low, high, dx + first);
  });
}

}  // namespace bitdial::training
