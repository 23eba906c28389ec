#include "winograd.h"

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace bitdial {
namespace {

/** Bytes of transformed inputs that are made at a time: they stay in the second cache, those of 16 bits in the third. */
constexpr size_t kInputBytes = 384 * 1024, kLargeInputBytes = 1536 * 1024;
/** A form is taken where it is to take less than this part of the direct way's time: the count of cycles is no closer. */
constexpr double kMargin = 0.95;
/** Tiles that are multiplied together at most. */
constexpr size_t kTiles = 8;
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
      : high((w.out_height + k.rows - 1) / k.rows), wide((w.out_width + k.columns - 1) / k.columns),
        per_image(high * wide) {
    const size_t bytes = k.element == 1 ? kInputBytes : kLargeInputBytes;
    most = std::max<size_t>(kTiles, bytes / (k.places * k.element * w.channels) / kTiles * kTiles);
  }

  /** Images that are padded at a time. */
  size_t step(size_t images) const { return std::clamp<size_t>(most / per_image, 1, images); }
};

constexpr WinogradForm kForms[] = {WinogradForm::square, WinogradForm::row, WinogradForm::large};

const WinogradKernels& kernels_of(const Kernels& k, WinogradForm form) {
  if (form == WinogradForm::large) return *k.winograd_large;
  return *(form == WinogradForm::square ? k.winograd : k.winograd_rows);
}

/** The rows of one form of a convolution, by way of tiles. */
class Winograd {
 public:
  Winograd(const Frame& f, const Op& op, WinogradForm form, const std::vector<WinogradForm>& ways)
      : f_(f), l_(op.linear), w_(op.window), in_(f.plan.tensors[op.inputs[0]]), e_(f.epilogue(op)), k_(kernels_of(f.kernels, form)),
        grid_(w_, k_), offset_(static_cast<int32_t>(k_.rows) * ((1 << in_.bits) - 1)), whole_(w_) {
    for (size_t block = 0; block < ways.size(); block++) if (ways[block] == form) blocks_.push_back(block);
    whole_.out_height = static_cast<uint32_t>(k_.rows * grid_.high);
    whole_.out_width = static_cast<uint32_t>(k_.columns * grid_.wide);
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
      const size_t y = t % grid_.per_image / grid_.wide * k_.rows, x = t % grid_.wide * k_.columns;
      WinogradTile& tile = tiles_[i];
      tile.patch = static_cast<uint32_t>(n * padded_.image + y * padded_.row + x * in_.channels);
      tile.pixel = static_cast<uint32_t>((image + n) * pixels + y * w_.out_width + x);
      tile.rows = static_cast<uint8_t>(std::min<size_t>(k_.rows, w_.out_height - y));
      tile.columns = static_cast<uint8_t>(std::min<size_t>(k_.columns, w_.out_width - x));
    }
    // Groups are as even as can be: none has few tiles unless there are few in all.
    const size_t groups = (count + kTiles - 1) / kTiles, size = k_.element * in_.channels;
    groups_.resize(groups);
    uint8_t* out = f_.scratch.transformed.ensure(k_.places * (count * size + groups * kGap));
    for (size_t g = 0; g < groups; g++) {
      const size_t begin = g * count / groups, n = (g + 1) * count / groups - begin;
      groups_[g] = {tiles_.data() + begin, n, out + k_.places * (begin * size + g * kGap), n * size + kGap};
    }
  }

  template <typename Work>
  void share(size_t units, size_t multiplications, Work work) {
    if (multiplications >= kShareWork) return f_.team.parallel(units, work);
    for (size_t i = 0; i < units; i++) work(i, f_.scratch);
  }

  void transform() {
    const size_t parts = std::min(groups_.size(), f_.team.size());
    // As long as so many multiplications, 64 a cycle.
    const auto work = static_cast<size_t>(k_.costs.inputs) * tiles_.size() * in_.channels;
    share(parts, work, [&](size_t part, Scratch&) {
      for (size_t g = part * groups_.size() / parts; g < (part + 1) * groups_.size() / parts; g++) {
        const WinogradGroup& group = groups_[g];
        k_.inputs({padded_.data, group.tiles, group.count, padded_.row, in_.channels,
                    static_cast<uint8_t>(offset_), group.in, group.pitch});
      }
    });
  }

  void multiply() {
    // Rows are split first, for then each thread transforms other weights.
    const size_t team = f_.team.size(), blocks = blocks_.size(), groups = groups_.size();
    const size_t parts = team == 1 || blocks >= 4 * team ? 1 : std::min(groups, 4 * team / blocks + 1);
    std::vector<Unit> units;
    for (const size_t block : blocks_) {
      for (size_t p = 0; p < parts; p++) {
        const size_t first = p * groups / parts;
        units.push_back({block, first, (p + 1) * groups / parts - first});
      }
    }
    share(units.size(), tiles_.size() * blocks * kLanes * k_.places * k_.element * in_.channels,
          [&](size_t i, Scratch& scratch) { multiply(units[i], scratch); });
  }

  void multiply(const Unit& u, Scratch& scratch) const {
    const size_t pitch = 2 * k_.element * in_.channels * kLanes + kGap;
    const size_t size = k_.places / 2 * pitch;
    int8_t* weights = reinterpret_cast<int8_t*>(scratch.tile.ensure(size + k_.places * kLanes * sizeof(int32_t)));
    int32_t* start = reinterpret_cast<int32_t*>(weights + size);
    const uint8_t* packed = f_.plan.memory.data() + l_.full_at + u.block * l_.block_bytes;
    k_.weights({packed, l_.bits, in_.channels, offset_, weights, pitch, start});
    // A step is four bytes of each of two places.
    const size_t ahead = 8 * l_.block_bytes / (k_.places * k_.element * in_.channels);
    k_.product({groups_.data() + u.first_group, u.groups, in_.channels, w_.out_width, weights, pitch, start,
                packed + l_.block_bytes, ahead, shifted(e_, 0, u.block * kLanes)});
  }

  const Frame& f_;
  const Linear& l_;
  const WindowShape& w_;
  const Tensor& in_;
  const Epilogue e_;
  const WinogradKernels& k_;
  const Grid grid_;
  const int32_t offset_;
  /** The op's window over whole tiles. */
  WindowShape whole_;
  std::vector<size_t> blocks_;
  Padded padded_ = {};
  std::vector<WinogradTile> tiles_;
  std::vector<WinogradGroup> groups_;
};

/** Cycles that a form takes for `blocks` blocks of a convolution; widths make next to no difference. */
double cycles(const Op& op, size_t images, double blocks, const WinogradKernels& k) {
  const WindowShape& w = op.window;
  const WinogradCosts& c = k.costs;
  const double channels = w.channels, steps = static_cast<double>((w.channels + size_t{63}) / 64);
  const Grid grid(w, k);
  const double tiles = static_cast<double>(grid.per_image * images);
  const double times = std::ceil(tiles / static_cast<double>(std::min(grid.most, grid.step(images) * grid.per_image)));
  const double weights = c.weights * channels + 100, tile = c.tile * channels + c.tile_start;
  return times * blocks * weights + tiles * (blocks * tile + c.inputs * steps);
}

/** Of the forms that suit `blocks` blocks the one to take. */
WinogradForm choose(const Kernels& k, const Op& op, size_t images, WinogradForms forms, double blocks) {
  const WindowShape& w = op.window;
  const double pixels = static_cast<double>(images) * w.out_height * w.out_width;
  WinogradForm best = WinogradForm::none;
  double least = kMargin * pixels * blocks * (k.direct.pixel * w.channels + k.direct.start);
  for (const WinogradForm form : kForms) {
    if (!forms.has(form)) continue;
    switch (op.linear.winograd) {
      case WinogradUse::never: return WinogradForm::none;
      case WinogradUse::always: if (form != WinogradForm::large) return form; break;
      case WinogradUse::always_large: if (form == WinogradForm::large) return form; break;
      case WinogradUse::where_it_pays: {
        const double taken = cycles(op, images, blocks, kernels_of(k, form));
        if (taken < least) least = taken, best = form;
      }
    }
  }
  return best;
}

}  // namespace

std::vector<WinogradForm> winograd_ways(const Kernels& k, const Op& op, size_t images) {
  const std::vector<WinogradForms>& forms = op.linear.winograd_blocks;
  std::vector<WinogradForm> ways(op.linear.full_blocks, WinogradForm::none);
  if (op.linear.winograd == WinogradUse::never || !k.winograd || !k.winograd_rows || !k.winograd_large) return ways;
  // Blocks that the same forms suit go the same way.
  for (uint8_t mask = 1; mask < 8; mask++) {
    const WinogradForms some = {mask};
    const auto blocks = std::count(forms.begin(), forms.end(), some);
    if (blocks == 0) continue;
    const WinogradForm form = choose(k, op, images, some, static_cast<double>(blocks));
    for (size_t block = 0; block < forms.size(); block++) if (forms[block] == some) ways[block] = form;
  }
  return ways;
}

std::vector<RowRange> run_winograd(const Frame& f, const Op& op) {
  const Linear& l = op.linear;
  if (f.plan.is_float || l.winograd == WinogradUse::never) return {{0, l.rows}};
  const std::vector<WinogradForm> ways = winograd_ways(f.kernels, op, f.images);
  for (const WinogradForm form : kForms) {
    if (std::find(ways.begin(), ways.end(), form) == ways.end()) continue;
    Winograd(f, op, form, ways).run(f.bytes(op.inputs[0]));
  }
  std::vector<RowRange> left;
  const auto leave = [&](size_t first, size_t count) {
    if (!left.empty() && left.back().first + left.back().count == first) left.back().count += count;
    else left.push_back({first, count});
  };
  for (size_t block = 0; block < ways.size(); block++) {
    if (ways[block] == WinogradForm::none) leave(block * kLanes, kLanes);
  }
  if (l.tail_rows() > 0) leave(l.full_blocks * kLanes, l.tail_rows());
  return left;
}

}  // namespace bitdial
