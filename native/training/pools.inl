// Max pooling, a block of channels at a time.

/** Calls visit(offset of the first channel) for every position of a window that lies in the image, row by row. */
template <typename Visit>
inline void each_position(const PoolWindow& w, size_t oy, size_t ox, Visit visit) {
  const long y0 = static_cast<long>(oy * w.stride_y) - w.top, x0 = static_cast<long>(ox * w.stride_x) - w.left;
  const long height = static_cast<long>(w.in_height), width = static_cast<long>(w.in_width);
  const long y1 = y0 + static_cast<long>(w.height), x1 = x0 + static_cast<long>(w.width);
  for (long y = y0 < 0 ? 0 : y0; y < y1 && y < height; y++) {
    for (long x = x0 < 0 ? 0 : x0; x < x1 && x < width; x++) visit(static_cast<size_t>(y * width + x) * w.channels);
  }
}

template <typename Load>
inline Lanes window_maximum(const PoolWindow& w, size_t oy, size_t ox, const float* x, Load get) {
  Lanes greatest = broadcast(-__builtin_inff());
  each_position(w, oy, ox, [&](size_t at) { greatest = greater(get(x + at), greatest); });
  return greatest;
}

void max_pool(const PoolWindow& w, const float* x, float* y) {
  each_block(w.channels, [=, &w](size_t c, auto get, auto put) {
    float* to = y + c;
    for (size_t oy = 0; oy < w.out_height; oy++) {
      for (size_t ox = 0; ox < w.out_width; ox++, to += w.channels) put(to, window_maximum(w, oy, ox, x + c, get));
    }
  });
}

void max_pool_gradient(const PoolWindow& w, const float* x, const float* dy, float* dx) {
  each_block(w.channels, [=, &w](size_t c, auto get, auto put) {
    const float* from = dy + c;
    for (size_t oy = 0; oy < w.out_height; oy++) {
      for (size_t ox = 0; ox < w.out_width; ox++, from += w.channels) {
        const Lanes greatest = window_maximum(w, oy, ox, x + c, get);
        // What no position has taken yet.
        Lanes left = get(from);
        each_position(w, oy, ox, [&](size_t at) {
          const Lanes here = get(x + c + at);
          float* to = dx + c + at;
          put(to, get(to) + where_equal(here, greatest, left, zeros()));
          left = where_equal(here, greatest, zeros(), left);
        });
      }
    }
  });
}
