#pragma once

#include "convolution.h"

namespace bitdial::training {

/** Of the batch, [channels] each. */
struct Statistics {
  float *mean, *variance;
};

/**
 * Batch norm by the batch's own statistics, x [pixels, channels]. The variance is biased. Sums are taken in parts around each
 * part's first pixel, then put together in float64 (Chan et al. 1979).
 */
void batch_norm(Context&, size_t pixels, size_t channels, const float* x, const float* gamma, const float* beta, float epsilon,
                float* y, Statistics);
/** (x - mean)·gamma/√(variance + ε) + beta, by statistics that are given. */
void normalize(Context&, size_t pixels, size_t channels, const float* x, Statistics, const float* gamma, const float* beta,
               float epsilon, float* y);
/** The gradient of batch_norm(), by what that gave. */
void batch_norm_gradient(Context&, size_t pixels, size_t channels, const float* dy, const float* x, const float* gamma,
                         Statistics, float epsilon, float* dx, float* dgamma, float* dbeta);
/** Σ over pixels of x [pixels, channels]. */
void sum_channels(Context&, size_t pixels, size_t channels, const float* x, float* sums);

void max_pool(Context&, size_t batch, const PoolWindow&, const float* x, float* y);
void max_pool_gradient(Context&, size_t batch, const PoolWindow&, const float* x, const float* dy, float* dx);

void relu(Context&, size_t n, const float* x, float top, float* y);
void relu_gradient(Context&, size_t n, const float* dy, const float* y, float top, float* dx);
void add(Context&, size_t n, const float* a, const float* b, float* out);
/** x [pixels, channels] + bias [channels] */
void add_channels(Context&, size_t pixels, size_t channels, const float* x, const float* bias, float* out);
/** x + step·sign(g) */
void add_sign(Context&, size_t n, const float* x, const float* g, float step, float* out);
float absolute_sum(Context&, size_t n, const float* x);
float square_sum(Context&, size_t n, const float* x);
void fake_quantize(Context&, size_t n, const float* x, float low, float high, float scale, float* y);
void pass_between(Context&, size_t n, const float* dy, const float* x, float low, float high, float* dx);

}  // namespace bitdial::training
