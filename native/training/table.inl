// Everything of an instruction set, once its lanes are there.
#include "products.inl"
#include "depthwise.inl"
#include "channels.inl"
#include "elementwise.inl"
#include "pools.inl"

constexpr Kernels table(const char* name) {
  return {name,      product,         outer, depthwise,     depthwise_outer, channel_sums, moments,      gradient_sums,
          normalize, normal_gradient, relu,  relu_gradient, add,             add_channels, add_sign,     absolute_sum,
          square_sum, fake_quantize,  pass_between, max_pool, max_pool_gradient};
}
