// Element by element: loops that the compiler makes vectors of.

void relu(const float* x, size_t n, float top, float* y) {
  // A value that is no number stays what it is.
  for (size_t i = 0; i < n; i++) y[i] = x[i] < 0 ? 0 : x[i] > top ? top : x[i];
}

void relu_gradient(const float* dy, const float* y, size_t n, float top, float* dx) {
  for (size_t i = 0; i < n; i++) dx[i] = y[i] > 0 && y[i] < top ? dy[i] : 0;
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
