#pragma once

#include <cstddef>

/** What an instruction set gives to training: one table of functions each, all float32, tensors NHWC. */
namespace bitdial::training {

/** Output channels whose weights lie together. */
constexpr size_t kBlock = 16;

/**
 * out[p][n] = Σ_r Σ_k in[p·in_step + runs[r] + k]·w[r·run_length + k][n], for a row of pixels.
 *
 *     weights: blocks of 16 channels, [block][k][16]; the last block is filled up with zeros
 */
struct PixelProduct {
  const float* in;
  size_t in_step, pixels;
  const size_t* runs;
  size_t run_count, run_length;
  const float* weights;
  float* out;
  size_t out_step, channels;
};

/** sums[k][n] += Σ x[pixel][k]·dy[pixel][n] over pixels of lines of images; the pixels are summed by themselves first. */
struct OuterProduct {
  const float *x, *dy;
  size_t images, lines, pixels;
  size_t x_image, x_line, x_pixel, dy_image, dy_line, dy_pixel;
  /** Of k and n. */
  size_t length, channels;
  float* sums;
};

/** out[p][c] = Σ_tap in[p·in_step + taps[tap] + c]·weights[tap][c] */
struct DepthwiseProduct {
  const float* in;
  size_t in_step, pixels;
  const size_t* taps;
  size_t tap_count;
  const float* weights;
  float* out;
  size_t out_step, channels;
};

/** sums[tap][c] += Σ x[line·x_line + pixel·x_pixel + taps[tap] + c]·dy[line][pixel][c] */
struct DepthwiseOuter {
  const float *x, *dy;
  size_t lines, pixels, x_line, x_pixel, dy_line;
  const size_t* taps;
  size_t tap_count, channels;
  float* sums;
};

/** Windows of one image; positions outside do not take part. */
struct PoolWindow {
  size_t in_height, in_width, channels, out_height, out_width;
  size_t height, width, stride_y, stride_x;
  long top, left;
};

struct Kernels {
  const char* name;
  void (*product)(const PixelProduct&);
  void (*outer)(const OuterProduct&);
  void (*depthwise)(const DepthwiseProduct&);
  void (*depthwise_outer)(const DepthwiseOuter&);

  /** Over pixels of [pixels][channels]: Σx; Σ(x - shift) and Σ(x - shift)²; Σdy and Σdy·(x - mean). */
  void (*channel_sums)(const float* x, size_t pixels, size_t channels, float* sums);
  void (*moments)(const float* x, size_t pixels, size_t channels, const float* shift, float* sums, float* squares);
  void (*gradient_sums)(const float* dy, const float* x, size_t pixels, size_t channels, const float* mean,
                        float* sums, float* products);
  /** y = (x - mean)·scale + beta */
  void (*normalize)(const float* x, size_t pixels, size_t channels, const float* mean, const float* scale,
                    const float* beta, float* y);
  /** dx = scale·dy + slope·(x - mean) + offset */
  void (*normal_gradient)(const float* dy, const float* x, size_t pixels, size_t channels, const float* mean,
                          const float* scale, const float* slope, const float* offset, float* dx);

  /** x between 0 and top */
  void (*relu)(const float* x, size_t n, float top, float* y);
  /** dy where 0 < y < top, else 0 */
  void (*relu_gradient)(const float* dy, const float* y, size_t n, float top, float* dx);
  void (*add)(const float* a, const float* b, size_t n, float* out);
  void (*add_channels)(const float* x, const float* bias, size_t pixels, size_t channels, float* out);
  /** x + step·sign(g) */
  void (*add_sign)(const float* x, const float* g, size_t n, float step, float* out);
  /** Σ|x| and Σx² */
  float (*absolute_sum)(const float* x, size_t n);
  float (*square_sum)(const float* x, size_t n);
  /** x between low and high, rounded to a multiple of scale, half to even. */
  void (*fake_quantize)(const float* x, size_t n, float low, float high, float scale, float* y);
  /** dy where low ≤ x ≤ high, else 0 */
  void (*pass_between)(const float* dy, const float* x, size_t n, float low, float high, float* dx);

  void (*max_pool)(const PoolWindow&, const float* x, float* y);
  /** Adds dy to the first greatest of each window. */
  void (*max_pool_gradient)(const PoolWindow&, const float* x, const float* dy, float* dx);
};

/** Null where this build or this processor lacks it. */
const Kernels* portable_kernels();
const Kernels* avx2_kernels();
const Kernels* avx512_kernels();

}  // namespace bitdial::training
