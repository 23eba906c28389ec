// Every instruction set of this processor against plain C++, kernel by kernel, on random operands of odd sizes. For
// processors that Node is not at hand for:
//   F="-std=c++20 -O2 -ffp-contract=off -Inative"
//   aarch64-linux-gnu-g++ $F -march=armv8.2-a+dotprod -static native/test/kernels.cc native/kernels_*.cc -o kernels
//   qemu-aarch64 ./kernels
#include "kernels.h"

#include <cmath>
#include <cstdio>
#include <cstring>
#include <random>
#include <vector>

#include "packing.h"

using namespace bitdial;

namespace {
std::mt19937 random_bits(7);
int whole(int low, int high) { return std::uniform_int_distribution<int>(low, high)(random_bits); }
float real() { return std::uniform_real_distribution<float>(-1, 1)(random_bits); }

int failures = 0;
void check(bool right, const Kernels& k, const char* what) {
  if (right) return;
  failures++;
  std::printf("%s: %s differs\n", k.name, what);
}

Epilogue epilogue(size_t rows, const std::vector<int32_t>& bias, const std::vector<float>& multipliers,
                  const std::vector<uint8_t>& residual, bool with_residual) {
  Epilogue e = {};
  e.bias = bias.data(), e.multipliers = multipliers.data(), e.pitch = rows;
  e.low = -static_cast<float>(whole(0, 9)), e.out_zero = 9, e.high = static_cast<float>(whole(5, 246));
  if (with_residual) e.residual = residual.data(), e.residual_zero = whole(0, 20), e.residual_multiplier = real();
  return e;
}

void products(const Kernels& plain, const Kernels& k) {
  const int bits = whole(2, 8), input_bits = whole(2, 8);
  const size_t rows = static_cast<size_t>(whole(1, 70)), count = static_cast<size_t>(whole(1, 27));
  const size_t runs = static_cast<size_t>(whole(1, 3)), groups = static_cast<size_t>(whole(1, 12));
  const size_t blocks = (rows + 15) / 16, codes_count = blocks * runs * groups * 64;
  std::vector<uint8_t> a(4096 + kSlack), residual(rows * count + kSlack);
  for (uint8_t& q : a) q = static_cast<uint8_t>(whole(0, (1 << input_bits) - 1));
  for (uint8_t& q : residual) q = static_cast<uint8_t>(whole(0, 255));
  std::vector<int8_t> codes(codes_count);
  const bool extreme = whole(0, 3) == 0;
  for (int8_t& c : codes) c = static_cast<int8_t>(extreme ? -(1 << (bits - 1)) : whole(-(1 << (bits - 1)), (1 << (bits - 1)) - 1));
  std::vector<uint8_t> packed(packed_bytes(codes_count, bits) + kSlack), unpacked(2 * 64 * runs * groups + kSlack);
  pack_codes(codes.data(), codes_count, bits, packed.data());
  std::vector<int8_t> again(codes_count + kSlack);
  k.unpack(packed.data(), codes_count, bits, again.data());
  check(std::memcmp(again.data(), codes.data(), codes_count) == 0, k, "unpack");
  std::vector<uint32_t> pixels(count), starts(runs);
  for (uint32_t& p : pixels) p = static_cast<uint32_t>(whole(0, 2000));
  for (uint32_t& s : starts) s = static_cast<uint32_t>(whole(0, 2000));
  std::vector<int32_t> bias(rows);
  std::vector<float> multipliers(rows);
  for (int32_t& b : bias) b = whole(-9999, 9999);
  for (float& m : multipliers) m = real() * 0.01f;
  Product p = {a.data(), pixels.data(), count, starts.data(), runs, groups, nullptr, 8, runs * groups * 64, rows,
               nullptr, 2 * ((1 << input_bits) - 1) * (1 << (bits - 1)) > 32767,
               epilogue(rows, bias, multipliers, residual, whole(0, 1) == 1), runs * groups, 0, 0};
  const bool floats = whole(0, 3) == 0;
  std::vector<uint8_t> want(rows * count + kSlack), got(want.size());
  std::vector<float> want_floats(want.size()), got_floats(want.size());
  const auto run = [&](const Kernels& kernels, std::vector<uint8_t>& to, std::vector<float>& to_floats) {
    if (floats) p.epilogue.floats = to_floats.data();
    else p.epilogue.codes = to.data();
    kernels.product(p);
  };
  p.weights = reinterpret_cast<const uint8_t*>(codes.data());
  run(plain, want, want_floats);
  run(k, got, got_floats);
  check(want == got && want_floats == got_floats, k, "product of bytes");
  if (!k.packed_weights || bits == 8) return;
  // Kernels keep what they unpack at a cache line's start.
  std::vector<uint8_t> room(unpacked.size() + 64);
  p.unpacked = room.data() + (64 - reinterpret_cast<uintptr_t>(room.data()) % 64);
  p.weights = packed.data(), p.bits = bits, p.block_bytes = runs * groups * 8 * static_cast<size_t>(bits);
  std::fill(got.begin(), got.end(), uint8_t{0});
  std::fill(got_floats.begin(), got_floats.end(), 0.0f);
  run(k, got, got_floats);
  check(want == got && want_floats == got_floats, k, "product of packed codes");
}

/** Pixels evenly apart, runs of whole steps; weights whose last step may not be whole, for inputs that are zeros there. */
void tile_products(const Kernels& plain, const Kernels& k) {
  if (!k.tile_product) return;
  const int bits = whole(2, 8);
  const size_t rows = static_cast<size_t>(whole(1, 70)), count = static_cast<size_t>(whole(16, 80));
  const size_t runs = static_cast<size_t>(whole(1, 3)), steps = static_cast<size_t>(whole(1, 3));
  const size_t groups = runs * steps * kTileInputs / 4, missing = runs > 1 ? 0 : static_cast<size_t>(whole(0, 15));
  const size_t weight_groups = groups - missing, blocks = (rows + 15) / 16, block = weight_groups * 64;
  const size_t pitch = kTileInputs * static_cast<size_t>(whole(1, 4)), patch = 4 * groups;
  const uint32_t run_starts[] = {0, static_cast<uint32_t>(whole(0, 500)), static_cast<uint32_t>(whole(0, 500))};
  std::vector<uint8_t> a(pitch * count + patch + 500), residual(rows * count + kSlack);
  for (uint8_t& q : a) q = static_cast<uint8_t>(whole(0, 255));
  for (uint8_t& q : residual) q = static_cast<uint8_t>(whole(0, 255));
  // Patches may overlap, so inputs that stand for none are zeros only where each has its own place.
  const bool own = missing > 0;
  const size_t apart = own ? patch : pitch;
  if (own) {
    a.resize(patch * count);
    for (size_t p = 0; p < count; p++) std::memset(a.data() + p * patch + 4 * weight_groups, 0, 4 * missing);
  }
  std::vector<int8_t> codes(blocks * block + kTileSlack);
  for (int8_t& c : codes) c = static_cast<int8_t>(whole(-(1 << (bits - 1)), (1 << (bits - 1)) - 1));
  std::vector<uint8_t> packed(packed_bytes(codes.size(), bits) + kSlack), room(2 * 64 * groups + 64);
  pack_codes(codes.data(), codes.size() / 8 * 8, bits, packed.data());
  std::vector<uint32_t> pixels(count);
  for (size_t p = 0; p < count; p++) pixels[p] = static_cast<uint32_t>(p * apart);
  std::vector<int32_t> bias(blocks * 16);
  std::vector<float> multipliers(blocks * 16);
  for (int32_t& b : bias) b = whole(-9999, 9999);
  for (float& m : multipliers) m = real() * 0.01f;
  Product p = {a.data(), pixels.data(), count, run_starts, runs, runs > 1 ? steps * kTileInputs / 4 : weight_groups,
               reinterpret_cast<const uint8_t*>(codes.data()), 8, block, rows, nullptr, true,
               epilogue(rows, bias, multipliers, residual, whole(0, 1) == 1), weight_groups, apart, kTileInputs};
  const bool floats = whole(0, 3) == 0;
  std::vector<uint8_t> want(rows * count + kSlack), got(want.size());
  std::vector<float> want_floats(want.size()), got_floats(want.size());
  if (floats) p.epilogue.floats = want_floats.data();
  else p.epilogue.codes = want.data();
  plain.product(p);
  if (floats) p.epilogue.floats = got_floats.data();
  else p.epilogue.codes = got.data();
  p.run_groups = groups / runs;
  p.unpacked = room.data() + (64 - reinterpret_cast<uintptr_t>(room.data()) % 64);
  if (bits < 8) p.weights = packed.data(), p.bits = bits, p.block_bytes = weight_groups * 8 * static_cast<size_t>(bits);
  k.tile_product(p);
  check(want == got && want_floats == got_floats, k, "product of tiles");
}

/** A random window; channels that fill vectors, and others. */
WindowShape window() {
  const auto some = [](int low, int high) { return static_cast<uint32_t>(whole(low, high)); };
  WindowShape w = {};
  w.channels = whole(0, 1) == 1 ? 8 * some(1, 18) : some(1, 150);
  w.in_height = some(1, 9), w.in_width = some(1, 9);
  const bool large = whole(0, 4) == 0;
  w.kernel_height = some(1, large ? 6 : 3), w.kernel_width = large ? some(1, 6) : some(0, 2) > 0 ? 3 : some(1, 3);
  w.stride_height = some(1, 3), w.stride_width = some(1, 3);
  w.dilation_height = some(0, 3) == 0 ? 2 : 1, w.dilation_width = some(0, 3) == 0 ? 2 : 1;
  w.pad_top = some(0, 3), w.pad_left = some(0, 3);
  w.out_height = some(1, 8), w.out_width = some(1, 8);
  return w;
}

void depthwise(const Kernels& plain, const Kernels& k) {
  Depthwise p = {};
  p.window = window();
  const WindowShape& w = p.window;
  const size_t rows = w.channels, count = size_t{w.out_height} * w.out_width, size = size_t{w.in_height} * w.in_width * rows;
  const size_t taps = size_t{w.kernel_height} * w.kernel_width;
  // The image in the midst of what must not be read as a part of it.
  std::vector<uint8_t> a(kSlack + size + kSlack), residual(rows * count + kSlack);
  for (uint8_t& q : a) q = static_cast<uint8_t>(whole(0, 255));
  for (uint8_t& q : residual) q = static_cast<uint8_t>(whole(0, 255));
  std::vector<int8_t> codes(taps * rows + kSlack);
  for (int8_t& c : codes) c = static_cast<int8_t>(whole(-128, 127));
  std::vector<int32_t> bias(rows);
  std::vector<float> multipliers(rows), values(a.size()), weights(taps * rows), float_residual(rows * count);
  for (int32_t& b : bias) b = whole(-9999, 9999);
  for (float& m : multipliers) m = real() * 0.01f;
  for (auto* v : {&values, &weights, &float_residual}) for (float& x : *v) x = real();
  p.a = a.data() + kSlack, p.float_a = values.data() + kSlack;
  p.first_line = static_cast<size_t>(whole(0, static_cast<int>(w.out_height) - 1));
  p.lines = w.out_height - p.first_line, p.fill = static_cast<uint8_t>(whole(0, 255));
  p.weights = codes.data(), p.float_weights = weights.data();
  p.epilogue = epilogue(rows, bias, multipliers, residual, whole(0, 1) == 1);
  std::vector<uint8_t> want(rows * count + kSlack), got(want.size());
  p.epilogue.codes = want.data();
  plain.depthwise(p);
  p.epilogue.codes = got.data();
  k.depthwise(p);
  check(want == got, k, "depthwise");
  std::vector<float> want_floats(rows * count), got_floats(rows * count);
  p.epilogue.codes = nullptr;
  p.epilogue.floats = want_floats.data();
  plain.depthwise(p);
  p.epilogue.floats = got_floats.data();
  k.depthwise(p);
  check(want_floats == got_floats, k, "depthwise to floats");
  p.epilogue.float_bias = multipliers.data(), p.epilogue.low = -0.5f, p.epilogue.high = 2.0f;
  if (p.epilogue.residual) p.epilogue.float_residual = float_residual.data();
  p.epilogue.floats = want_floats.data();
  plain.float_depthwise(p);
  p.epilogue.floats = got_floats.data();
  k.float_depthwise(p);
  bool near = true;
  for (size_t i = 0; i < rows * count; i++) near = near && std::fabs(want_floats[i] - got_floats[i]) < 1e-4f;
  check(near, k, "float depthwise");
}

void float_products(const Kernels& plain, const Kernels& k) {
  const size_t rows = static_cast<size_t>(whole(1, 70)), count = static_cast<size_t>(whole(1, 19));
  const size_t length = static_cast<size_t>(whole(1, 40)), tail = rows % 16, full = rows - tail;
  std::vector<float> a(4096), weights(rows * length + 64), bias(rows), want(rows * count), got(rows * count);
  for (float& x : a) x = real();
  for (float& w : weights) w = real();
  for (float& b : bias) b = real();
  std::vector<uint32_t> pixels(count);
  for (uint32_t& p : pixels) p = static_cast<uint32_t>(whole(0, 4000));
  const uint32_t zero = 0;
  for (const size_t part : {full, tail}) {
    if (part == 0) continue;
    const size_t row = part == full ? 0 : full, lanes = part == full ? 16 : tail;
    FloatProduct p = {a.data(), pixels.data(), count, &zero, 1, length, weights.data() + row * length, 16 * length,
                      lanes, part, {}};
    p.epilogue.float_bias = bias.data() + row;
    p.epilogue.low = -0.5f, p.epilogue.high = 2.0f, p.epilogue.pitch = rows;
    p.epilogue.floats = want.data() + row;
    plain.float_product(p);
    p.epilogue.floats = got.data() + row;
    k.float_product(p);
  }
  bool near = true;
  for (size_t i = 0; i < want.size(); i++) near = near && std::fabs(want[i] - got[i]) < 1e-4f;
  check(near, k, "float product");
}

void folds(const Kernels& plain, const Kernels& k) {
  const size_t n = static_cast<size_t>(whole(1, 100)), rows = kLanes * static_cast<size_t>(whole(1, 3));
  const size_t pitch = rows + static_cast<size_t>(whole(0, 40));
  std::vector<float> in(n * pitch), want(rows * n), got(rows * n), least[2], greatest[2];
  std::vector<double> scales(rows);
  for (float& v : in) v = real();
  for (double& scale : scales) scale = static_cast<double>(real());
  const bool finite = whole(0, 1) == 1;
  if (!finite) in[(n - 1) / 2 * pitch + 5] = whole(0, 1) ? INFINITY : NAN;
  for (std::vector<float>& bound : least) bound.resize(rows);
  for (std::vector<float>& bound : greatest) bound.resize(rows);
  const auto fold = [&](const Kernels& with, int i, std::vector<float>& out) {
    return with.fold(in.data(), pitch, n, rows, scales.data(), out.data(), n, least[i].data(), greatest[i].data());
  };
  const bool first = fold(plain, 0, want), second = fold(k, 1, got);
  check(first == finite && second == finite, k, "fold of what is not finite");
  if (finite) check(want == got && least[0] == least[1] && greatest[0] == greatest[1], k, "fold");
}

void searches(const Kernels& plain, const Kernels& k) {
  const size_t n = static_cast<size_t>(whole(1, 3000));
  const int bits = whole(2, 8);
  std::vector<float> w(n);
  for (float& v : w) v = real();
  const float scale = real() * 0.5f + (real() > 0 ? 0.6f : -0.6f);
  check(plain.squared_error(w.data(), n, scale, bits, INFINITY) == k.squared_error(w.data(), n, scale, bits, INFINITY),
        k, "squared error");
  double a[2], b[2];
  plain.moments(w.data(), n, scale, bits, a, a + 1);
  k.moments(w.data(), n, scale, bits, b, b + 1);
  check(a[0] == b[0] && a[1] == b[1], k, "moments");
  std::vector<int8_t> codes(n), same(n);
  const CodeSums some = plain.codes(w.data(), n, scale, bits, codes.data());
  const CodeSums sums = k.codes(w.data(), n, scale, bits, same.data());
  check(codes == same && some.sum == sums.sum && some.size == sums.size, k, "codes");
  std::vector<uint16_t> half(n), other(n);
  const float off = plain.bins(w.data(), n, -1, 500, half.data()), also = k.bins(w.data(), n, -1, 500, other.data());
  check(half == other && std::fabs(off - also) <= 1e-4f * off, k, "bins");
  plain.to_half(w.data(), n, half.data());
  k.to_half(w.data(), n, other.data());
  check(half == other, k, "float16");
}
}  // namespace

int main() {
  const Kernels& plain = *portable_kernels();
  for (const Kernels* k : {amx_kernels(), avx512_vnni_kernels(), avx2_kernels(), neon_kernels(), portable_kernels()}) {
    if (!k) continue;
    for (int i = 0; i < 1500; i++) {
      products(plain, *k);
      tile_products(plain, *k);
      depthwise(plain, *k);
      float_products(plain, *k);
      searches(plain, *k);
      folds(plain, *k);
    }
    std::printf("%s: checked\n", k->name);
  }
  return failures > 0;
}
