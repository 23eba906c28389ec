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

void norms(const float* x, size_t n, float* absolute, float* squares) {
  float a[kBlock] = {}, b[kBlock] = {};
  size_t i = 0;
  for (; i + kBlock <= n; i += kBlock) {
    for (size_t l = 0; l < kBlock; l++) {
      const float v = x[i + l];
      a[l] += v < 0 ? -v : v;
      b[l] += v * v;
    }
  }
  for (size_t l = 0; i < n; i++, l++) {
    a[l] += x[i] < 0 ? -x[i] : x[i];
    b[l] += x[i] * x[i];
  }
  float sum = 0, square = 0;
  for (size_t l = 0; l < kBlock; l++) {
    sum += a[l];
    square += b[l];
  }
  *absolute = sum;
  *squares = square;
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
