#pragma once

#include <vector>

#include "crew.h"
#include "kernels.h"

namespace bitdial::training {

/** What the operations compute with; `shared` holds packed weights and partial sums from one call to the next. */
struct Context {
  const Kernels& kernels;
  Crew& crew;
  Memory packed, partial;
};

/** A convolution, NHWC, dilation 1; x [batch, in, in_c], y [batch, out, out_c], w [height, width, in_c, out_c]. */
struct Convolution {
  size_t batch, in_h, in_w, in_c, out_h, out_w, out_c, height, width, stride_y, stride_x;
  long top, left;

  size_t in_size() const { return batch * in_h * in_w * in_c; }
  size_t out_size() const { return batch * out_h * out_w * out_c; }
};

void convolve(Context&, const Convolution&, const float* x, const float* w, float* y);
void convolution_input_gradient(Context&, const Convolution&, const float* dy, const float* w, float* dx);
void convolution_filter_gradient(Context&, const Convolution&, const float* x, const float* dy, float* dw);

/** Depthwise: in_c == out_c, w [height, width, channels]. */
void depthwise_convolve(Context&, const Convolution&, const float* x, const float* w, float* y);
void depthwise_input_gradient(Context&, const Convolution&, const float* dy, const float* w, float* dx);
void depthwise_filter_gradient(Context&, const Convolution&, const float* x, const float* dy, float* dw);

/** out [m, n] = a [m, k]·b, where b is [k, n], or [n, k] where it is transposed. */
void multiply(Context&, size_t m, size_t k, size_t n, const float* a, const float* b, bool transposed, float* out);
/** out [k, n] = aᵀ·b for a [m, k], b [m, n]. */
void multiply_transposed(Context&, size_t m, size_t k, size_t n, const float* a, const float* b, float* out);

/** An image's rows with what of them windows reach over, zeros where that lies outside. */
struct Strip {
  const float* data;
  /** Floats of a row. */
  size_t row;
};

/** Rows and columns of images that windows reach over: `first` may be negative, `first + count` past the end. */
struct Reach {
  long first_y, first_x;
  size_t rows, columns;

  size_t floats(size_t channels) const { return rows * columns * channels; }
  bool inside(size_t height, size_t width) const {
    return first_y >= 0 && first_x >= 0 && first_y + static_cast<long>(rows) <= static_cast<long>(height) &&
           first_x + static_cast<long>(columns) <= static_cast<long>(width);
  }
};

/** The strip where it lies if it is inside the image [height, width, channels], else a copy in `room`. */
Strip reach_over(const float* image, size_t height, size_t width, size_t channels, const Reach&, float* room);
/** The copy, whether it is needed or not. */
void copy_strip(const float* image, size_t height, size_t width, size_t channels, const Reach&, float* room);

/** Rows and columns of taps, and where they lie; of one phase of an input gradient, or a whole convolution. */
struct Taps {
  size_t rows, columns;
  /** Input pixel of the first tap at output pixel 0. */
  long first_y, first_x;
  /** Kernel position of the first tap, and from one to the next. */
  long kernel_y, kernel_x, kernel_step_y, kernel_step_x;
  /** Output pixels: the first, from one to the next, and how many. */
  size_t out_y, out_x, step_y, step_x, out_rows, out_columns;
};

/** The convolution itself. */
Taps forward_taps(const Convolution&);
/**
 * Its input gradient as convolutions of dy: input pixels that lie alike between the strides have the same taps, which are
 * stride pixels apart in the kernel, the last first.
 */
std::vector<Taps> gradient_taps(const Convolution&);

}  // namespace bitdial::training
