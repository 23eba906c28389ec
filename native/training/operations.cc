#include "operations.h"

#include <cmath>
#include <map>
#include <stdexcept>

namespace bitdial::training {
namespace {

/** Takes the words of a call one after the other and checks each. */
class Call {
 public:
  Call(Context& context, Heap heap, Words words) : context(context), heap_(heap), words_(words) {}

  Context& context;

  double number() {
    if (words_.count == 0) throw std::invalid_argument("expected more words");
    words_.count--;
    return *words_.at++;
  }
  /** A whole number from `least` to 2³¹ - 1. */
  size_t size(size_t least = 1) { return static_cast<size_t>(whole(static_cast<double>(least))); }
  long padding() { return static_cast<long>(whole(0)); }
  /** The next word is the byte offset of that many floats. */
  float* tensor(size_t floats) {
    const double offset = number();
    if (!(offset >= 0) || std::fmod(offset, sizeof(float)) != 0 ||
        offset + static_cast<double>(floats) * sizeof(float) > static_cast<double>(heap_.size)) {
      throw std::invalid_argument("expected a tensor of " + std::to_string(floats) + " floats within the heap");
    }
    return reinterpret_cast<float*>(heap_.data + static_cast<size_t>(offset));
  }
  void end() const {
    if (words_.count > 0) throw std::invalid_argument("expected fewer words");
  }

 private:
  double whole(double least) {
    const double value = number();
    if (!(value >= least && value < 2147483648.0 && value == std::floor(value))) {
      throw std::invalid_argument("expected a whole number, got " + std::to_string(value));
    }
    return value;
  }

  Heap heap_;
  Words words_;
};

/** A product of sizes; throws where no heap could hold so many. */
size_t product_of(std::initializer_list<size_t> sizes) {
  double product = 1;
  for (const size_t size : sizes) product *= static_cast<double>(size);
  if (product > 1e12) throw std::invalid_argument("expected sizes that fit the heap");
  return static_cast<size_t>(product);
}

/** Sizes of a convolution or a pool, in the order of the fields. */
Convolution convolution_of(Call& call) {
  Convolution c;
  for (size_t* field : {&c.batch, &c.in_h, &c.in_w, &c.in_c, &c.out_h, &c.out_w, &c.out_c, &c.height, &c.width,
                        &c.stride_y, &c.stride_x}) {
    *field = call.size();
  }
  c.top = call.padding();
  c.left = call.padding();
  product_of({c.batch, c.in_h, c.in_w, c.in_c});
  product_of({c.batch, c.out_h, c.out_w, c.out_c});
  product_of({c.in_h + c.height + static_cast<size_t>(c.top), c.in_w + c.width + static_cast<size_t>(c.left), c.in_c});
  product_of({(c.out_h + 1) * c.stride_y + c.height, (c.out_w + 1) * c.stride_x + c.width, c.in_c});
  product_of({c.height, c.width, c.in_c, c.out_c});
  return c;
}

size_t filter_size(const Convolution& c, bool depthwise) { return c.height * c.width * c.in_c * (depthwise ? 1 : c.out_c); }

Convolution depthwise_of(Call& call) {
  const Convolution c = convolution_of(call);
  if (c.in_c != c.out_c) throw std::invalid_argument("expected as many channels out as in");
  return c;
}

PoolWindow window_of(const Convolution& c) {
  return {c.in_h, c.in_w, c.in_c, c.out_h, c.out_w, c.height, c.width, c.stride_y, c.stride_x, c.top, c.left};
}

using Convolve = void (*)(Context&, const Convolution&, const float*, const float*, float*);

/** x, w → y */
template <Convolve Run, bool Depthwise>
void forward(Call& call) {
  const Convolution c = Depthwise ? depthwise_of(call) : convolution_of(call);
  const float *x = call.tensor(c.in_size()), *w = call.tensor(filter_size(c, Depthwise));
  Run(call.context, c, x, w, call.tensor(c.out_size()));
}

/** dy, w → dx */
template <Convolve Run, bool Depthwise>
void input_gradient(Call& call) {
  const Convolution c = Depthwise ? depthwise_of(call) : convolution_of(call);
  const float *dy = call.tensor(c.out_size()), *w = call.tensor(filter_size(c, Depthwise));
  Run(call.context, c, dy, w, call.tensor(c.in_size()));
}

/** x, dy → dw */
template <Convolve Run, bool Depthwise>
void filter_gradient(Call& call) {
  const Convolution c = Depthwise ? depthwise_of(call) : convolution_of(call);
  const float *x = call.tensor(c.in_size()), *dy = call.tensor(c.out_size());
  Run(call.context, c, x, dy, call.tensor(filter_size(c, Depthwise)));
}

void matrix_product(Call& call) {
  const size_t batch = call.size(), m = call.size(), k = call.size(), n = call.size();
  const bool transpose_a = call.size(0) != 0, transpose_b = call.size(0) != 0;
  if (transpose_a && transpose_b) throw std::invalid_argument("expected one transposed operand at most");
  const float *a = call.tensor(product_of({batch, m, k})), *b = call.tensor(product_of({batch, k, n}));
  float* out = call.tensor(product_of({batch, m, n}));
  for (size_t i = 0; i < batch; i++, a += m * k, b += k * n, out += m * n) {
    if (transpose_a) multiply_transposed(call.context, k, m, n, a, b, out);
    else multiply(call.context, m, k, n, a, b, transpose_b, out);
  }
}

void pool(Call& call) {
  const Convolution c = depthwise_of(call);
  const float* x = call.tensor(c.in_size());
  max_pool(call.context, c.batch, window_of(c), x, call.tensor(c.out_size()));
}

void pool_gradient(Call& call) {
  const Convolution c = depthwise_of(call);
  const float *x = call.tensor(c.in_size()), *dy = call.tensor(c.out_size());
  max_pool_gradient(call.context, c.batch, window_of(c), x, dy, call.tensor(c.in_size()));
}

void norm_forward(Call& call) {
  const size_t pixels = call.size(), channels = call.size(), size = product_of({pixels, channels});
  const float epsilon = static_cast<float>(call.number());
  const float *x = call.tensor(size), *gamma = call.tensor(channels), *beta = call.tensor(channels);
  float* y = call.tensor(size);
  const Statistics given = {call.tensor(channels), call.tensor(channels)};
  batch_norm(call.context, pixels, channels, x, gamma, beta, epsilon, y, given);
}

void normalized(Call& call) {
  const size_t pixels = call.size(), channels = call.size(), size = product_of({pixels, channels});
  const float epsilon = static_cast<float>(call.number());
  const float* x = call.tensor(size);
  const Statistics given = {call.tensor(channels), call.tensor(channels)};
  const float *gamma = call.tensor(channels), *beta = call.tensor(channels);
  normalize(call.context, pixels, channels, x, given, gamma, beta, epsilon, call.tensor(size));
}

void norm_gradient(Call& call) {
  const size_t pixels = call.size(), channels = call.size(), size = product_of({pixels, channels});
  const float epsilon = static_cast<float>(call.number());
  const float *dy = call.tensor(size), *x = call.tensor(size), *gamma = call.tensor(channels);
  const Statistics given = {call.tensor(channels), call.tensor(channels)};
  float *dx = call.tensor(size), *dgamma = call.tensor(channels), *dbeta = call.tensor(channels);
  batch_norm_gradient(call.context, pixels, channels, dy, x, gamma, given, epsilon, dx, dgamma, dbeta);
}

void channels_summed(Call& call) {
  const size_t pixels = call.size(), channels = call.size();
  const float* x = call.tensor(product_of({pixels, channels}));
  sum_channels(call.context, pixels, channels, x, call.tensor(channels));
}

void channels_added(Call& call) {
  const size_t pixels = call.size(), channels = call.size(), size = product_of({pixels, channels});
  const float *x = call.tensor(size), *bias = call.tensor(channels);
  add_channels(call.context, pixels, channels, x, bias, call.tensor(size));
}

/** Above 0; it may be infinite. */
float top_of(Call& call) {
  const float top = static_cast<float>(call.number());
  if (!(top > 0)) throw std::invalid_argument("expected a bound above 0");
  return top;
}

void positive(Call& call) {
  const size_t n = call.size();
  const float top = top_of(call);
  const float* x = call.tensor(n);
  relu(call.context, n, x, top, call.tensor(n));
}

void positive_gradient(Call& call) {
  const size_t n = call.size();
  const float top = top_of(call);
  const float *dy = call.tensor(n), *y = call.tensor(n);
  relu_gradient(call.context, n, dy, y, top, call.tensor(n));
}

void added(Call& call) {
  const size_t n = call.size();
  const float *a = call.tensor(n), *b = call.tensor(n);
  add(call.context, n, a, b, call.tensor(n));
}

void signs_added(Call& call) {
  const size_t n = call.size();
  const float step = static_cast<float>(call.number());
  const float *x = call.tensor(n), *g = call.tensor(n);
  add_sign(call.context, n, x, g, step, call.tensor(n));
}

using Sum = float (*)(Context&, size_t, const float*);

template <Sum Run>
void sum_to_one(Call& call) {
  const size_t n = call.size();
  const float* x = call.tensor(n);
  *call.tensor(1) = Run(call.context, n, x);
}

void quantized(Call& call) {
  const size_t n = call.size();
  const float low = static_cast<float>(call.number()), high = static_cast<float>(call.number());
  const float scale = static_cast<float>(call.number());
  const float* x = call.tensor(n);
  fake_quantize(call.context, n, x, low, high, scale, call.tensor(n));
}

void passed_between(Call& call) {
  const size_t n = call.size();
  const float low = static_cast<float>(call.number()), high = static_cast<float>(call.number());
  const float *dy = call.tensor(n), *x = call.tensor(n);
  pass_between(call.context, n, dy, x, low, high, call.tensor(n));
}

const std::map<std::string, void (*)(Call&)> kOperations = {
    {"convolution", forward<convolve, false>},
    {"convolution-input-gradient", input_gradient<convolution_input_gradient, false>},
    {"convolution-filter-gradient", filter_gradient<convolution_filter_gradient, false>},
    {"depthwise", forward<depthwise_convolve, true>},
    {"depthwise-input-gradient", input_gradient<depthwise_input_gradient, true>},
    {"depthwise-filter-gradient", filter_gradient<depthwise_filter_gradient, true>},
    {"product", matrix_product},
    {"max-pool", pool},
    {"max-pool-gradient", pool_gradient},
    {"batch-norm", norm_forward},
    {"batch-norm-gradient", norm_gradient},
    {"normalize", normalized},
    {"channel-sums", channels_summed},
    {"add-channels", channels_added},
    {"relu", positive},
    {"relu-gradient", positive_gradient},
    {"add", added},
    {"add-sign", signs_added},
    {"absolute-sum", sum_to_one<absolute_sum>},
    {"square-sum", sum_to_one<square_sum>},
    {"fake-quantize", quantized},
    {"fake-quantize-gradient", passed_between},
};

}  // namespace

void run_operation(Context& context, const std::string& name, Heap heap, Words words) {
  const auto found = kOperations.find(name);
  if (found == kOperations.end()) throw std::invalid_argument("no such operation");
  Call call(context, heap, words);
  found->second(call);
  call.end();
}

}  // namespace bitdial::training
