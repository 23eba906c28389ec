// Convolutions of each channel by itself: one weight a tap and channel.

template <bool Partial>
inline void depthwise_block(const DepthwiseProduct& p, size_t channel, size_t n) {
  const auto get = [n](const float* at) { return Partial ? load(at, n) : load(at); };
  const auto put = [n](float* at, Lanes a) {
    if (Partial) store(at, a, n);
    else store(at, a);
  };
  const float* in = p.in + channel;
  float* out = p.out + channel;
  size_t pixel = 0;
  for (; pixel + 4 <= p.pixels; pixel += 4, in += 4 * p.in_step, out += 4 * p.out_step) {
    Lanes sums[4] = {zeros(), zeros(), zeros(), zeros()};
    for (size_t t = 0; t < p.tap_count; t++) {
      const Lanes w = get(p.weights + t * p.channels + channel);
      const float* x = in + p.taps[t];
      for (size_t i = 0; i < 4; i++) sums[i] = multiply_add(get(x + i * p.in_step), w, sums[i]);
    }
    for (size_t i = 0; i < 4; i++) put(out + i * p.out_step, sums[i]);
  }
  for (; pixel < p.pixels; pixel++, in += p.in_step, out += p.out_step) {
    Lanes sum = zeros();
    for (size_t t = 0; t < p.tap_count; t++) {
      sum = multiply_add(get(in + p.taps[t]), get(p.weights + t * p.channels + channel), sum);
    }
    put(out, sum);
  }
}

void depthwise(const DepthwiseProduct& p) {
  size_t c = 0;
  for (; c + kBlock <= p.channels; c += kBlock) depthwise_block<false>(p, c, kBlock);
  if (c < p.channels) depthwise_block<true>(p, c, p.channels - c);
}

/** Taps t … t + T - 1. */
template <size_t T, bool Partial>
inline void depthwise_taps(const DepthwiseOuter& o, size_t t, size_t channel, size_t n) {
  const auto get = [n](const float* at) { return Partial ? load(at, n) : load(at); };
  Lanes sums[T];
  for (Lanes& sum : sums) sum = zeros();
  for (size_t line = 0; line < o.lines; line++) {
    const float* x = o.x + line * o.x_line + channel;
    const float* dy = o.dy + line * o.dy_line + channel;
    for (size_t pixel = 0; pixel < o.pixels; pixel++, x += o.x_pixel, dy += o.channels) {
      const Lanes d = get(dy);
      for (size_t i = 0; i < T; i++) sums[i] = multiply_add(get(x + o.taps[t + i]), d, sums[i]);
    }
  }
  for (size_t i = 0; i < T; i++) {
    float* to = o.sums + (t + i) * o.channels + channel;
    if (Partial) store(to, load(to, n) + sums[i], n);
    else store(to, load(to) + sums[i]);
  }
}

template <bool Partial>
inline void depthwise_outer_block(const DepthwiseOuter& o, size_t channel, size_t n) {
  size_t t = 0;
  for (; t + 3 <= o.tap_count; t += 3) depthwise_taps<3, Partial>(o, t, channel, n);
  for (; t < o.tap_count; t++) depthwise_taps<1, Partial>(o, t, channel, n);
}

void depthwise_outer(const DepthwiseOuter& o) {
  size_t c = 0;
  for (; c + kBlock <= o.channels; c += kBlock) depthwise_outer_block<false>(o, c, kBlock);
  if (c < o.channels) depthwise_outer_block<true>(o, c, o.channels - c);
}
