// Sums over the pixels of [pixels][channels], and what batch norm makes of them.

/** Calls visit(first channel, load, store) for every block; the last may be partial. */
template <typename Visit>
inline void each_block(size_t channels, Visit visit) {
  size_t c = 0;
  for (; c + kBlock <= channels; c += kBlock) {
    visit(c, [](const float* at) { return load(at); }, [](float* at, Lanes a) { store(at, a); });
  }
  if (c == channels) return;
  const size_t n = channels - c;
  visit(c, [n](const float* at) { return load(at, n); }, [n](float* at, Lanes a) { store(at, a, n); });
}

/** Two numbers of each pixel, summed in four sums each that then are added. */
template <typename Term>
inline void sum_pairs(size_t pixels, Term term, Lanes& first_sum, Lanes& second_sum) {
  Lanes a[4] = {zeros(), zeros(), zeros(), zeros()}, b[4] = {zeros(), zeros(), zeros(), zeros()};
  size_t pixel = 0;
  for (; pixel + 4 <= pixels; pixel += 4) {
    for (size_t i = 0; i < 4; i++) term(pixel + i, a[i], b[i]);
  }
  for (; pixel < pixels; pixel++) term(pixel, a[0], b[0]);
  first_sum = (a[0] + a[1]) + (a[2] + a[3]);
  second_sum = (b[0] + b[1]) + (b[2] + b[3]);
}

void channel_sums(const float* x, size_t pixels, size_t channels, float* sums) {
  each_block(channels, [=](size_t c, auto get, auto put) {
    Lanes sum, unused;
    sum_pairs(pixels, [&](size_t p, Lanes& a, Lanes&) { a = a + get(x + p * channels + c); }, sum, unused);
    put(sums + c, sum);
  });
}

void moments(const float* x, size_t pixels, size_t channels, const float* shift, float* sums, float* squares) {
  each_block(channels, [=](size_t c, auto get, auto put) {
    const Lanes origin = get(shift + c);
    Lanes sum, square;
    const auto term = [&](size_t p, Lanes& a, Lanes& b) {
      const Lanes v = get(x + p * channels + c) - origin;
      a = a + v;
      b = multiply_add(v, v, b);
    };
    sum_pairs(pixels, term, sum, square);
    put(sums + c, sum);
    put(squares + c, square);
  });
}

void gradient_sums(const float* dy, const float* x, size_t pixels, size_t channels, const float* mean, float* sums,
                   float* products) {
  each_block(channels, [=](size_t c, auto get, auto put) {
    const Lanes centre = get(mean + c);
    Lanes sum, product;
    const auto term = [&](size_t p, Lanes& a, Lanes& b) {
      const Lanes d = get(dy + p * channels + c);
      a = a + d;
      b = multiply_add(d, get(x + p * channels + c) - centre, b);
    };
    sum_pairs(pixels, term, sum, product);
    put(sums + c, sum);
    put(products + c, product);
  });
}

void normalize(const float* x, size_t pixels, size_t channels, const float* mean, const float* scale, const float* beta,
               float* y) {
  each_block(channels, [=](size_t c, auto get, auto put) {
    const Lanes centre = get(mean + c), slope = get(scale + c), offset = get(beta + c);
    for (size_t i = c, end = pixels * channels; i < end; i += channels) {
      put(y + i, multiply_add(get(x + i) - centre, slope, offset));
    }
  });
}

void normal_gradient(const float* dy, const float* x, size_t pixels, size_t channels, const float* mean,
                     const float* scale, const float* slope, const float* offset, float* dx) {
  each_block(channels, [=](size_t c, auto get, auto put) {
    const Lanes centre = get(mean + c), by_dy = get(scale + c), by_x = get(slope + c), constant = get(offset + c);
    for (size_t i = c, end = pixels * channels; i < end; i += channels) {
      put(dx + i, multiply_add(by_dy, get(dy + i), multiply_add(by_x, get(x + i) - centre, constant)));
    }
  });
}

void add_channels(const float* x, const float* bias, size_t pixels, size_t channels, float* out) {
  each_block(channels, [=](size_t c, auto get, auto put) {
    const Lanes b = get(bias + c);
    for (size_t i = c, end = pixels * channels; i < end; i += channels) put(out + i, get(x + i) + b);
  });
}
