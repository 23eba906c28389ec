#pragma once

#include <algorithm>
#include <cstring>

#include "convolution.h"

/** Sums over many pixels in parts. How they are split is a matter of shapes and never of threads: sums are the same for all. */
namespace bitdial::training {

/** Bytes of images and gradients that are summed over together: they stay in the second cache. */
constexpr size_t kGroupBytes = 256 * 1024;
/** Parts of a sum, and floats that all parts may take. */
constexpr size_t kMostParts = 16, kPartFloats = size_t{4} << 20;

constexpr size_t divided_up(size_t a, size_t b) { return (a + b - 1) / b; }

/** Adds the parts of a sum, the first to the last, to what `out` then is. */
inline void add_parts(Context& context, const float* parts, size_t count, size_t size, float* out) {
  constexpr size_t kPiece = 4096;
  context.crew.run(divided_up(size, kPiece), [&](size_t unit, Memory&) {
    const size_t first = unit * kPiece, n = std::min(kPiece, size - first);
    std::memcpy(out + first, parts + first, n * sizeof(float));
    for (size_t part = 1; part < count; part++) {
      context.kernels.add(out + first, parts + part * size + first, n, out + first);
    }
  });
}

/** Room for `parts` sums of `size` floats, zeroed. */
inline float* zeroed_parts(Context& context, size_t parts, size_t size) {
  float* sums = reinterpret_cast<float*>(context.partial.ensure(parts * size * sizeof(float)));
  context.crew.run(parts, [&](size_t part, Memory&) { std::fill_n(sums + part * size, size, 0.0f); });
  return sums;
}

inline size_t part_count(size_t most, size_t size) {
  return std::clamp<size_t>(kPartFloats / std::max<size_t>(size, 1), 1, std::min(most, kMostParts));
}

/** Rows of the output that are summed over together, and images. */
struct Groups {
  size_t rows, strips, images;
};

inline Groups groups_of(const Convolution& c) {
  const size_t width = (c.out_w - 1) * c.stride_x + c.width;
  const size_t row = sizeof(float) * (c.stride_y * width * c.in_c + c.out_w * c.out_c);
  const size_t rows = std::clamp<size_t>(kGroupBytes / row, 1, c.out_h);
  if (rows < c.out_h) return {rows, divided_up(c.out_h, rows), 1};
  // As many groups in each part, of about the same size.
  const size_t most = std::max<size_t>(kGroupBytes / (row * c.out_h), 1), per_part = divided_up(c.batch, kMostParts);
  return {rows, 1, divided_up(per_part, divided_up(per_part, most))};
}

/**
 * Splits images and strips of a convolution into parts, and calls add(scratch, sums, first image, images, first row, rows)
 * for each group of a part in order, then adds the parts.
 */
template <typename Add>
void sum_over_images(Context& context, const Convolution& c, size_t size, float* out, Add add) {
  const Groups g = groups_of(c);
  const size_t groups = divided_up(c.batch, g.images) * g.strips;
  const size_t parts = part_count(groups, size), per_part = divided_up(groups, parts);
  float* sums = zeroed_parts(context, parts, size);
  context.crew.run(parts, [&](size_t part, Memory& scratch) {
    for (size_t i = part * per_part; i < std::min(groups, (part + 1) * per_part); i++) {
      const size_t image = i / g.strips * g.images, first = i % g.strips * g.rows;
      add(scratch, sums + part * size, image, std::min(g.images, c.batch - image), first, std::min(g.rows, c.out_h - first));
    }
  });
  add_parts(context, sums, parts, size, out);
}

/** Images of x as strips that follow each other, from where windows of output row `first` begin. */
inline Strip strips_of(const Convolution& c, const float* x, size_t images, size_t first, size_t rows, Memory& scratch,
                       size_t& image_floats) {
  const size_t height = (rows - 1) * c.stride_y + c.height, width = (c.out_w - 1) * c.stride_x + c.width;
  const Reach reach = {static_cast<long>(first * c.stride_y) - c.top, -c.left, height, width};
  const size_t image = c.in_h * c.in_w * c.in_c;
  image_floats = image;
  if (reach.inside(c.in_h, c.in_w)) return reach_over(x, c.in_h, c.in_w, c.in_c, reach, nullptr);
  image_floats = reach.floats(c.in_c);
  float* room = reinterpret_cast<float*>(scratch.ensure(images * image_floats * sizeof(float)));
  for (size_t i = 0; i < images; i++) copy_strip(x + i * image, c.in_h, c.in_w, c.in_c, reach, room + i * image_floats);
  return {room, width * c.in_c};
}

}  // namespace bitdial::training
