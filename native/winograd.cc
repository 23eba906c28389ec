#include "winograd.h"

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace bitdial {
namespace {

/** Bytes of transformed inputs that are made at a time: they stay in the second cache. */
constexpr size_t kInputBytes = 384 * 1024;
/** Tiles that are multiplied together at most. */
constexpr size_t kTiles = 8;
/** Activations and weights of so many bits suit squares, and rows. */
constexpr int kSquareBits = 6, kRowBits = 7, kWeightBits = 6;
/** Bytes between places, so that they lie off the power of two and a tile's last step has room. */
constexpr size_t kGap = 64;

/** A block of 16 rows × groups of tiles: what shares transformed weights. */
struct Unit {
  size_t block, first_group, groups;
};

/** How an op's output lies in tiles. */
struct Grid {
  /** Tiles of an image, below each other and side by side. */
  size_t high, wide, per_image;
  /** Tiles that are transformed at a time. */
  size_t most;

  Grid(const WindowShape& w, const WinogradKernels& k)
      : high((w.out_height + k.rows - 1) / k.rows), wide((w.out_width + size_t{1}) / 2), per_image(high * wide),
        most(std::max<size_t>(kTiles, kInputBytes / (k.places * w.channels) / kTiles * kTiles)) {}

  /** Images that are padded at a time. */
  size_t step(size_t images) const { return std::clamp<size_t>(most / per_image, 1, images); }
};

/** Blocks of 16 rows that go this way. */
size_t blocks_of(const Linear& l, WinogradForm form) {
  return static_cast<size_t>(std::count(l.winograd_blocks.begin(), l.winograd_blocks.end(), form));
}

const WinogradKernels& kernels_of(const Frame& f, WinogradForm form) {
  return *(form == WinogradForm::square ? f.kernels.winograd : f.kernels.winograd_rows);
}

/** The rows of one form of a convolution, by way of tiles. */
class Winograd {
 public:
  Winograd(const Frame& f, const Op& op, WinogradForm form)
      : f_(f), l_(op.linear), w_(op.window), in_(f.plan.tensors[op.inputs[0]]), e_(f.epilogue(op)), form_(form),
        k_(kernels_of(f, form)), grid_(w_, k_), offset_(static_cast<int32_t>(k_.rows) * ((1 << in_.bits) - 1)), whole_(w_) {
    whole_.out_height = static_cast<uint32_t>(k_.rows * grid_.high);
    whole_.out_width = static_cast<uint32_t>(2 * grid_.wide);
  }

  void run(const uint8_t* images) {
    const size_t step = grid_.step(f_.images);
    for (size_t n = 0; n < f_.images; n += step) {
      const size_t count = std::min(step, f_.images - n), tiles = count * grid_.per_image;
      padded_ = pad_images(whole_, images + n * in_.elements, count, 1, static_cast<uint8_t>(in_.zero), 1,
                           f_.scratch.padded);
      for (size_t first = 0; first < tiles; first += grid_.most) {
        list(n, first, std::min(grid_.most, tiles - first));
        transform();
        multiply();
      }
    }
  }

 private:
  /** The tiles of a step; image `image` is the first of the padded ones. */
  void list(size_t image, size_t first, size_t count) {
    tiles_.resize(count);
    const size_t pixels = size_t{w_.out_height} * w_.out_width;
    for (size_t i = 0; i < count; i++) {
      const size_t t = first + i, n = t / grid_.per_image;
      const size_t y = t % grid_.per_image / grid_.wide * k_.rows, x = t % grid_.wide * 2;
      WinogradTile& tile = tiles_[i];
      tile.patch = static_cast<uint32_t>(n * padded_.image + y * padded_.row + x * in_.channels);
      tile.pixel = static_cast<uint32_t>((image + n) * pixels + y * w_.out_width + x);
      tile.rows = static_cast<uint8_t>(std::min<size_t>(k_.rows, w_.out_height - y));
      tile.columns = static_cast<uint8_t>(std::min<size_t>(2, w_.out_width - x));
    }
    // Groups are as even as can be: none has few tiles unless there are few in all.
    const size_t groups = (count + kTiles - 1) / kTiles, channels = in_.channels;
    groups_.resize(groups);
    uint8_t* out = f_.scratch.transformed.ensure(k_.places * (count * channels + groups * kGap));
    for (size_t g = 0; g < groups; g++) {
      const size_t begin = g * count / groups, n = (g + 1) * count / groups - begin;
      groups_[g] = {tiles_.data() + begin, n, out + k_.places * (begin * channels + g * kGap), n * channels + kGap};
    }
  }

  template <typename Work>
  void share(size_t units, size_t multiplications, Work work) {
    if (multiplications >= kShareWork) return f_.team.parallel(units, work);
    for (size_t i = 0; i < units; i++) work(i, f_.scratch);
  }

  void transform() {
    const size_t parts = std::min(groups_.size(), f_.team.size());
    share(parts, tiles_.size() * in_.channels * 64, [&](size_t part, Scratch&) {
      for (size_t g = part * groups_.size() / parts; g < (part + 1) * groups_.size() / parts; g++) {
        const WinogradGroup& group = groups_[g];
        k_.inputs({padded_.data, group.tiles, group.count, padded_.row, in_.channels,
                    static_cast<uint8_t>(offset_), group.in, group.pitch});
      }
    });
  }

  void multiply() {
    // Rows are split first, for then each thread transforms other weights.
    const size_t team = f_.team.size(), blocks = blocks_of(l_, form_), groups = groups_.size();
    const size_t parts = team == 1 || blocks >= 4 * team ? 1 : std::min(groups, 4 * team / blocks + 1);
    std::vector<Unit> units;
    for (size_t block = 0; block < l_.full_blocks; block++) {
      if (l_.winograd_blocks[block] != form_) continue;
      for (size_t p = 0; p < parts; p++) {
        const size_t first = p * groups / parts;
        units.push_back({block, first, (p + 1) * groups / parts - first});
      }
    }
    share(units.size(), tiles_.size() * blocks * kLanes * l_.columns,
          [&](size_t i, Scratch& scratch) { multiply(units[i], scratch); });
  }

  void multiply(const Unit& u, Scratch& scratch) const {
    const size_t pitch = 2 * in_.channels * kLanes + kGap;
    const size_t size = k_.places / 2 * pitch;
    int8_t* weights = reinterpret_cast<int8_t*>(scratch.tile.ensure(size + k_.places * kLanes * sizeof(int32_t)));
    int32_t* start = reinterpret_cast<int32_t*>(weights + size);
    const uint8_t* packed = f_.plan.memory.data() + l_.full_at + u.block * l_.block_bytes;
    k_.weights({packed, l_.bits, in_.channels, offset_, weights, pitch, start});
    k_.product({groups_.data() + u.first_group, u.groups, in_.channels, w_.out_width, weights, pitch, start,
                packed + l_.block_bytes, shifted(e_, 0, u.block * kLanes)});
  }

  const Frame& f_;
  const Linear& l_;
  const WindowShape& w_;
  const Tensor& in_;
  const Epilogue e_;
  const WinogradForm form_;
  const WinogradKernels& k_;
  const Grid grid_;
  const int32_t offset_;
  /** The op's window over whole tiles. */
  WindowShape whole_;
  Padded padded_ = {};
  std::vector<WinogradTile> tiles_;
  std::vector<WinogradGroup> groups_;
};

/** Whether the Winograd way takes less time than the direct one; widths make next to no difference. */
bool pays(const Op& op, size_t images, WinogradForm form, const WinogradKernels& k) {
  const WindowShape& w = op.window;
  const WinogradCosts& c = k.costs;
  const double blocks = static_cast<double>(blocks_of(op.linear, form)), channels = w.channels;
  const double steps = static_cast<double>((w.channels + size_t{63}) / 64);
  const Grid grid(w, k);
  const double tiles = static_cast<double>(grid.per_image * images);
  const double times = std::ceil(tiles / static_cast<double>(std::min(grid.most, grid.step(images) * grid.per_image)));
  const double weights = c.weights * channels + 100, inputs = c.inputs * steps;
  const double tile = c.tile * channels + c.tile_start;
  const double pixels = static_cast<double>(images) * w.out_height * w.out_width;
  const double pixel = c.pixel * channels + c.pixel_start;
  return times * blocks * weights + tiles * (blocks * tile + inputs) < pixels * blocks * pixel;
}

}  // namespace

bool winograd_suits(const Plan& plan, const Op& op) {
  if (op.kind != Kind::conv) return false;
  const WindowShape& w = op.window;
  const Tensor &in = plan.tensors[op.inputs[0]], &out = plan.tensors[op.output];
  const bool shape = w.kernel_height == 3 && w.kernel_width == 3 && w.stride_height == 1 && w.stride_width == 1 &&
                     w.dilation_height == 1 && w.dilation_width == 1;
  return shape && in.bits <= kRowBits && op.linear.bits <= kWeightBits && in.channels % 4 == 0 && op.linear.full_blocks > 0 &&
         out.storage == Storage::codes;
}

WinogradForm winograd_form(int in_bits) { return in_bits <= kSquareBits ? WinogradForm::square : WinogradForm::row; }

bool winograd_fits(const int8_t* codes, size_t channels, int bits) {
  if (bits <= 4) return true;
  // Up to 6 bits only the sums of nine, at the four inner positions, can be too large.
  const int8_t* tap[9];
  for (size_t t = 0; t < 9; t++) tap[t] = codes + t * channels;
  constexpr size_t kStep = 256;
  for (size_t begin = 0; begin < channels; begin += kStep) {
    uint16_t outside = 0;
    for (size_t c = begin; c < std::min(channels, begin + kStep); c++) {
      const int16_t corners = static_cast<int16_t>(tap[0][c] + tap[2][c] + tap[6][c] + tap[8][c]);
      const int16_t sides = static_cast<int16_t>(tap[3][c] + tap[5][c]);
      const int16_t ends = static_cast<int16_t>(tap[1][c] + tap[7][c]);
      const int16_t even = static_cast<int16_t>(corners + tap[4][c]), odd = static_cast<int16_t>(sides + ends);
      const int16_t cross = static_cast<int16_t>(corners - tap[4][c]), turn = static_cast<int16_t>(sides - ends);
      for (const int sum : {even + odd, even - odd, cross + turn, cross - turn}) {
        outside = static_cast<uint16_t>(outside | static_cast<uint16_t>(sum + 128));
      }
    }
    if (outside > 255) return false;
  }
  return true;
}

bool winograd_holds(int64_t size, int in_bits) { return size * ((1 << in_bits) - 1) <= INT32_MAX / 4; }

std::vector<RowRange> run_winograd(const Frame& f, const Op& op) {
  const Linear& l = op.linear;
  if (f.plan.is_float || l.winograd == WinogradUse::never || !f.kernels.winograd) return {{0, l.rows}};
  bool goes[3] = {};
  for (const WinogradForm form : {WinogradForm::square, WinogradForm::row}) {
    if (blocks_of(l, form) == 0) continue;
    if (l.winograd == WinogradUse::where_it_pays && !pays(op, f.images, form, kernels_of(f, form))) continue;
    Winograd(f, op, form).run(f.bytes(op.inputs[0]));
    goes[static_cast<size_t>(form)] = true;
  }
  std::vector<RowRange> left;
  const auto leave = [&](size_t first, size_t count) {
    if (!left.empty() && left.back().first + left.back().count == first) left.back().count += count;
    else left.push_back({first, count});
  };
  for (size_t block = 0; block < l.full_blocks; block++) {
    if (!goes[static_cast<size_t>(l.winograd_blocks[block])]) leave(block * kLanes, kLanes);
  }
  if (l.tail_rows() > 0) leave(l.full_blocks * kLanes, l.tail_rows());
  return left;
}

}  // namespace bitdial
