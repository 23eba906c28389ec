// Element by element: loops that the compiler makes vectors of.

void relu(const float* x, size_t n, float* y) {
  // A value that is no number stays what it is.
  for (size_t i = 0; i < n; i++) y[i] = x[i] < 0 ? 0 : x[i];
}

void relu_gradient(const float* dy, const float* y, size_t n, float* dx) {
  for (size_t i = 0; i < n; i++) dx[i] = y[i] > 0 ? dy[i] : 0;
}

/** `out` may be `a`. */
void add(const float* a, const float* b, size_t n, float* out) {
  size_t i = 0;
  for (; i + kBlock <= n; i += kBlock) store(out + i, load(a + i) + load(b + i));
  if (i < n) store(out + i, load(a + i, n - i) + load(b + i, n - i), n - i);
}

void add_sign(const float* x, const float* g, size_t n, float step, float* out) {
  for (size_t i = 0; i < n; i++) out[i] = x[i] + (g[i] > 0 ? step : g[i] < 0 ? -step : 0);
}

/** Sums in sixteen lanes, then the lanes in order. */
template <typename Term>
inline float sum_of(const float* x, size_t n, Term term) {
  Lanes sums[4] = {zeros(), zeros(), zeros(), zeros()};
  size_t i = 0;
  for (; i + 4 * kBlock <= n; i += 4 * kBlock) {
    for (size_t j = 0; j < 4; j++) sums[j] = term(load(x + i + j * kBlock), sums[j]);
  }
  for (; i + kBlock <= n; i += kBlock) sums[0] = term(load(x + i), sums[0]);
  if (i < n) sums[1] = term(load(x + i, n - i), sums[1]);
  float lanes[kBlock], sum = 0;
  store(lanes, (sums[0] + sums[1]) + (sums[2] + sums[3]));
  for (const float lane : lanes) sum += lane;
  return sum;
}

float absolute_sum(const float* x, size_t n) {
  return sum_of(x, n, [](Lanes v, Lanes sum) { return sum + absolute(v); });
}

float square_sum(const float* x, size_t n) {
  return sum_of(x, n, [](Lanes v, Lanes sum) { return multiply_add(v, v, sum); });
}

void fake_quantize(const float* x, size_t n, float low, float high, float scale, float* y) {
  // Adding it leaves no place for a fraction, and takes numbers up to 2²².
  constexpr float kWhole = 12582912.0f;
  const float inverse = 1 / scale;
  for (size_t i = 0; i < n; i++) {
    const float v = x[i] < low ? low : x[i] > high ? high : x[i];
    y[i] = (v * inverse + kWhole - kWhole) * scale;
  }
}

void pass_between(const float* dy, const float* x, size_t n, float low, float high, float* dx) {
  for (size_t i = 0; i < n; i++) dx[i] = x[i] >= low && x[i] <= high ? dy[i] : 0;
}

/** Calls visit(offset of the first channel) for every position of a window that lies in the image, row by row. */
template <typename Visit>
inline void each_position(const PoolWindow& w, size_t oy, size_t ox, Visit visit) {
  for (size_t ky = 0; ky < w.height; ky++) {
    const long y = static_cast<long>(oy * w.stride_y + ky) - w.top;
    if (y < 0 || y >= static_cast<long>(w.in_height)) continue;
    for (size_t kx = 0; kx < w.width; kx++) {
      const long x = static_cast<long>(ox * w.stride_x + kx) - w.left;
      if (x < 0 || x >= static_cast<long>(w.in_width)) continue;
      visit((static_cast<size_t>(y) * w.in_width + static_cast<size_t>(x)) * w.channels);
    }
  }
}

inline void window_maximum(const PoolWindow& w, size_t oy, size_t ox, const float* x, float* greatest) {
  for (size_t c = 0; c < w.channels; c++) greatest[c] = -__builtin_inff();
  each_position(w, oy, ox, [&](size_t at) {
    // A value that is no number stays, and shows.
    for (size_t c = 0; c < w.channels; c++) greatest[c] = x[at + c] <= greatest[c] ? greatest[c] : x[at + c];
  });
}

void max_pool(const PoolWindow& w, const float* x, float* y) {
  for (size_t oy = 0; oy < w.out_height; oy++) {
    for (size_t ox = 0; ox < w.out_width; ox++, y += w.channels) window_maximum(w, oy, ox, x, y);
  }
}

void max_pool_gradient(const PoolWindow& w, const float* x, const float* dy, float* dx, float* room) {
  float* greatest = room;
  float* left = room + w.channels;
  for (size_t oy = 0; oy < w.out_height; oy++) {
    for (size_t ox = 0; ox < w.out_width; ox++, dy += w.channels) {
      window_maximum(w, oy, ox, x, greatest);
      for (size_t c = 0; c < w.channels; c++) left[c] = dy[c];
      each_position(w, oy, ox, [&](size_t at) {
        for (size_t c = 0; c < w.channels; c++) {
          const bool here = x[at + c] == greatest[c];
          dx[at + c] += here ? left[c] : 0;
          left[c] = here ? 0 : left[c];
        }
      });
    }
  }
}
