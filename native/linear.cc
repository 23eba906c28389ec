#include <algorithm>

#include "execute.h"
#include "packing.h"
#include "patches.h"
#include "windows.h"

namespace bitdial {
namespace {

/** Pixels of which a step has at least so many, if need be from several images. */
constexpr size_t kStepPixels = 128;
/** Groups of inputs from which tiles, which are filled up with zeros, take less time. */
constexpr size_t kTileGroups = 12;
/** Part of an op's output that one thread makes. */
struct Part {
  size_t first_pixel, pixels, first_row, rows;
};

/** Splits pixels, or rows where pixels are few, for a team; parts of rows each gather their patches for tiles. */
void split(size_t pixels, const Linear& l, const RowRange& range, size_t team, bool tiles, std::vector<Part>& parts) {
  const auto [first, rows] = range;
  if (team == 1 || pixels * rows * l.columns < kShareWork) return parts.push_back({0, pixels, first, rows});
  if (pixels >= 64 * team) {
    const size_t step = std::max<size_t>(32, (pixels / (4 * team) + 31) / 32 * 32);
    for (size_t p = 0; p < pixels; p += step) parts.push_back({p, std::min(step, pixels - p), first, rows});
  } else {
    const size_t blocks = (rows + kLanes - 1) / kLanes;
    const size_t step = std::max<size_t>(2, blocks / (tiles ? team : 2 * team) / 2 * 2) * kLanes;
    const size_t end = first + rows, full = std::min(l.full_blocks * kLanes, end);
    for (size_t r = first; r < full; r += step) parts.push_back({0, pixels, r, std::min(step, full - r)});
    if (full < end) parts.push_back({0, pixels, full, end - full});
  }
}

/** The rows without blocks of their own, as signed bytes in the kernels' layout. */
void unpack_tail(const Frame& f, const Linear& l, Scratch& scratch) {
  const size_t rows = l.tail_rows(), count = (rows * l.columns + 63) / 64 * 64;
  const size_t blocks = (rows + kLanes - 1) / kLanes;
  int8_t* codes = reinterpret_cast<int8_t*>(scratch.unpacked.ensure(count));
  f.kernels.unpack(f.plan.memory.data() + l.tail_at, count, l.bits, codes);
  int8_t* tile = reinterpret_cast<int8_t*>(scratch.tile.ensure(blocks * l.groups * 64));
  std::memset(tile, 0, blocks * l.groups * 64);
  for (size_t r = 0; r < rows; r++) {
    const int8_t* from = codes + r * l.columns;
    int8_t* to = tile + r / kLanes * l.groups * 64 + r % kLanes * 4;
    size_t c = 0;
    for (; c + 4 <= l.columns; c += 4, to += 64) std::memcpy(to, from + c, 4);
    if (c < l.columns) std::memcpy(to, from + c, l.columns - c);
  }
}

class IntegerPart {
 public:
  IntegerPart(const Frame& f, const Op& op, const Inputs& in, const Runs& runs, const Epilogue& e, const Part& part,
              Scratch& scratch)
      : f_(f), l_(op.linear), in_(in), runs_(runs), e_(e), part_(part), scratch_(scratch), window_(op.window) {}

  void run() {
    has_tail_ = part_.first_row + part_.rows > l_.full_blocks * kLanes;
    if (f_.kernels.tile_product && l_.groups >= kTileGroups && part_.pixels >= kTilePixels) return run_tiles();
    std::vector<uint32_t>& pixels = scratch_.pixels;
    if (!l_.gathered) {
      starts(0, part_.pixels, pixels);
      return products(as_they_lie(0), part_.first_pixel);
    }
    const size_t pitch = 4 * l_.groups;
    const size_t step = std::max<size_t>(8, kGatherBytes / pitch / 8 * 8);
    uint8_t* patches = scratch_.gathered.ensure(std::min(step, part_.pixels) * pitch);
    for (size_t p = 0; p < part_.pixels; p += step) {
      starts(p, std::min(step, part_.pixels - p), pixels);
      gather(in_.a, runs_, pixels, pitch, patches);
      products({patches, pixels.data(), pixels.size(), &kNoRun, 1, l_.groups, 0, 0}, part_.first_pixel + p);
    }
  }

 private:
  static constexpr uint32_t kNoRun = 0;

  Patches as_they_lie(size_t tile_pitch) const {
    const std::vector<uint32_t>& pixels = scratch_.pixels;
    return {in_.a, pixels.data(), pixels.size(), runs_.starts.data(), runs_.starts.size(), runs_.length / 4,
            tile_pitch, kTileInputs};
  }

  void run_tiles() {
    std::vector<uint32_t>& pixels = scratch_.pixels;
    starts(0, part_.pixels, pixels);
    if (runs_.length % kTileInputs == 0 && evenly_apart(pixels)) {
      return products(as_they_lie(pixels[1] - pixels[0]), part_.first_pixel);
    }
    const size_t steps = (4 * l_.groups + kTileInputs - 1) / kTileInputs, bytes = steps * kTileInputs;
    // Parts of a whole number of tiles but for the last, none of few pixels.
    const size_t parts = std::clamp<size_t>(part_.pixels / 64, 1, part_.pixels * bytes / kTileGatherBytes + 1);
    const auto begin = [&](size_t part) { return part * part_.pixels / parts / (2 * kTilePixels) * (2 * kTilePixels); };
    for (size_t part = 0; part < parts; part++) {
      const size_t first = begin(part), count = (part + 1 < parts ? begin(part + 1) : part_.pixels) - first;
      starts(first, count, pixels);
      uint8_t* tiles = scratch_.gathered.ensure((count + kTilePixels - 1) / kTilePixels * kTilePixels * bytes);
      gather_tiles(in_.a, runs_, steps, pixels, scratch_.patch.ensure(bytes), tiles);
      products({tiles, pixels.data(), count, &kNoRun, 1, steps * (kTileInputs / 4), kTileInputs, kTilePixels * kTileInputs},
               part_.first_pixel + first);
    }
  }

  void starts(size_t first, size_t count, std::vector<uint32_t>& out) const {
    pixel_starts(window_, in_.row, in_.image, in_.channels, part_.first_pixel + first, count, out);
  }

  void products(const Patches& x, size_t pixel) {
    Product p = {x.a, x.pixels, x.count, x.runs, x.run_count, x.run_groups, nullptr, l_.bits, l_.block_bytes, 0,
                 nullptr, l_.wide, {}, l_.groups, x.tile_pitch, x.tile_step};
    const auto product = x.tile_pitch > 0 ? f_.kernels.tile_product : f_.kernels.product;
    const size_t full = l_.full_blocks * kLanes, end = part_.first_row + part_.rows;
    const size_t full_end = std::min(end, full);
    const uint8_t* weights = f_.plan.memory.data() + l_.full_at;
    const bool direct = l_.bits == 8 || f_.kernels.packed_weights;
    const size_t step = direct ? SIZE_MAX : 2 * kLanes;
    if (l_.bits < 8) p.unpacked = scratch_.unpacked.ensure(2 * 64 * x.run_count * x.run_groups);
    for (size_t row = part_.first_row; row < full_end;) {
      p.rows = std::min(step, full_end - row);
      p.weights = weights + row / kLanes * l_.block_bytes;
      if (!direct) {
        const size_t blocks = p.rows / kLanes, codes = l_.groups * 64;
        uint8_t* tile = p.unpacked;
        for (size_t b = 0; b < blocks; b++) {
          f_.kernels.unpack(p.weights + b * l_.block_bytes, codes, l_.bits, reinterpret_cast<int8_t*>(tile) + b * codes);
        }
        p.weights = tile;
        p.bits = 8;
        p.block_bytes = codes;
      }
      p.epilogue = shifted(e_, pixel, row);
      product(p);
      row += p.rows;
    }
    if (!has_tail_) return;
    unpack_tail(f_, l_, scratch_);
    p.weights = scratch_.tile.data();
    p.bits = 8;
    p.block_bytes = l_.groups * 64;
    p.rows = l_.tail_rows();
    p.epilogue = shifted(e_, pixel, full);
    product(p);
  }

  const Frame& f_;
  const Linear& l_;
  const Inputs& in_;
  const Runs& runs_;
  const Epilogue& e_;
  const Part& part_;
  Scratch& scratch_;
  const WindowShape& window_;
  bool has_tail_ = false;
};

void float_part(const Frame& f, const Op& op, const Inputs& in, const Runs& runs, const Epilogue& e, const Part& part,
                Scratch& scratch) {
  const Linear& l = op.linear;
  pixel_starts(op.window, in.row, in.image, in.channels, part.first_pixel, part.pixels, scratch.pixels);
  FloatProduct p = {reinterpret_cast<const float*>(in.a), scratch.pixels.data(), part.pixels, runs.starts.data(),
                    runs.starts.size(), runs.length, nullptr, kLanes * l.columns, kLanes, 0, {}};
  const size_t full = l.full_blocks * kLanes, end = part.first_row + part.rows;
  const size_t step = l.bits == 32 ? SIZE_MAX : 2 * kLanes;
  for (size_t row = part.first_row; row < end;) {
    const bool tail = row >= full;
    p.rows = tail ? end - row : std::min(step, std::min(end, full) - row);
    p.k_stride = tail ? p.rows : kLanes;
    if (l.bits == 32) {
      p.weights = f.plan.memory.as<float>(tail ? l.tail_at : l.full_at + row / kLanes * l.block_bytes);
    } else {
      float* decoded = reinterpret_cast<float*>(scratch.tile.ensure(4 * (p.rows + kLanes) * l.columns));
      decode_floats(f.plan, f.kernels, op, row, p.rows, scratch, decoded);
      p.weights = decoded;
    }
    p.epilogue = shifted(e, part.first_pixel, row);
    f.kernels.float_product(p);
    row += p.rows;
  }
}

}  // namespace

void run_linear(const Frame& f, const Op& op) {
  const std::vector<RowRange> ranges = run_winograd(f, op);
  if (ranges.empty()) return;
  const Tensor &in = f.plan.tensors[op.inputs[0]], &out = f.plan.tensors[op.output];
  const Linear& l = op.linear;
  const size_t element = f.plan.is_float ? 4 : 1;
  const uint8_t* a = f.bytes(op.inputs[0]);
  const Epilogue e = f.epilogue(op);
  const bool dense = op.kind == Kind::dense;
  const size_t per_image = dense ? 1 : size_t{out.height} * out.width;
  const size_t step = std::min(f.images, (kStepPixels + per_image - 1) / per_image);
  for (size_t n = 0; n < f.images; n += step) {
    const size_t images = std::min(step, f.images - n), pixels = images * per_image;
    const uint8_t* first = a + n * in.elements * element;
    Inputs inputs = {first, 0, in.elements, in.channels};
    Runs runs = {{0}, l.columns};
    if (!dense) {
      const uint8_t fill = f.plan.is_float ? 0 : static_cast<uint8_t>(in.zero);
      const Padded padded = pad_images(op.window, first, images, element, fill, 1, f.scratch.padded);
      inputs = {padded.data, padded.row, padded.image, in.channels};
      runs = runs_of(op.window, padded.row, in.channels);
    }
    const Epilogue step_epilogue = shifted(e, n * per_image, 0);
    std::vector<Part> parts;
    for (const RowRange& range : ranges) split(pixels, l, range, f.team.size(), f.kernels.tile_product, parts);
    f.team.parallel(parts.size(), [&](size_t i, Scratch& scratch) {
      if (f.plan.is_float) float_part(f, op, inputs, runs, step_epilogue, parts[i], scratch);
      else IntegerPart(f, op, inputs, runs, step_epilogue, parts[i], scratch).run();
    });
  }
}

}  // namespace bitdial
