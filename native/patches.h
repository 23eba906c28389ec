#pragma once

#include <algorithm>
#include <cstring>
#include <vector>

#include "kernels.h"
#include "windows.h"

namespace bitdial {

/** The inputs of a step: images from `a` on, and elements from a row and an image to the next. */
struct Inputs {
  const uint8_t* a;
  size_t row, image, channels;
};

/** What a product reads: as Product has it. `tile_pitch` is 0 where it is not for tile_product. */
struct Patches {
  const uint8_t* a;
  const uint32_t* pixels;
  size_t count;
  const uint32_t* runs;
  size_t run_count, run_groups;
  size_t tile_pitch, tile_step;
};

/** Bytes of patches that are gathered at a time: they stay in the second cache. */
constexpr size_t kGatherBytes = 128 * 1024;
/** The same for tiles, whose weights are unpacked once for each. */
constexpr size_t kTileGatherBytes = 1024 * 1024;

/** True where 16 pixels each lie evenly apart and can be multiplied as tiles where they lie. */
inline bool evenly_apart(const std::vector<uint32_t>& pixels) {
  // So far apart, a tile's lines would fight for the same places of the first cache.
  constexpr uint32_t kSamePlace = 2048;
  const uint32_t apart = pixels[1] - pixels[0];
  if (apart % kSamePlace == 0) return false;
  for (size_t i = 1; i < pixels.size(); i++) {
    // A last tile that is not full has the pixels before it too.
    const bool begins = i % kTilePixels == 0 && i + kTilePixels <= pixels.size();
    if (!begins && pixels[i] - pixels[i - 1] != apart) return false;
  }
  return true;
}

/** In pieces: what a run writes past its end the next one overwrites. */
template <size_t Piece>
void copy_runs(const uint8_t* patch, const Runs& runs, uint8_t* to) {
  for (const uint32_t start : runs.starts) {
    for (size_t i = 0; i < runs.length; i += Piece) std::memcpy(to + i, patch + start + i, Piece);
    to += runs.length;
  }
}

/** Copies the runs of each patch side by side, `pitch` bytes from patch to patch; ends in the slack. */
inline void gather(const uint8_t* a, const Runs& runs, std::vector<uint32_t>& pixels, size_t pitch, uint8_t* out) {
  for (size_t i = 0; i < pixels.size(); i++) {
    copy_runs<16>(a + pixels[i], runs, out + i * pitch);
    pixels[i] = static_cast<uint32_t>(i * pitch);
  }
}

/**
 * The same as tiles, which lie one after the other as they are read: [16 pixels][step][pixel][64 inputs], the last ones of
 * the pixels that are left and some before them; zeros after the inputs. Gives the tiles' first pixels their places.
 * @param patch room for a patch, with slack
 */
inline void gather_tiles(const uint8_t* a, const Runs& runs, size_t steps, std::vector<uint32_t>& pixels, uint8_t* patch,
                         uint8_t* out) {
  constexpr size_t kTile = kTilePixels * kTileInputs;
  const size_t count = pixels.size(), filled = runs.starts.size() * runs.length;
  const bool whole = runs.length % kTileInputs == 0;
  const std::vector<uint32_t> starts = pixels;
  for (size_t p = 0, at = 0; p < count; p += kTilePixels, at += steps * kTile) {
    const size_t first = std::min(p, count - kTilePixels);
    for (size_t i = 0; i < kTilePixels; i++) {
      uint8_t* to = out + at + i * kTileInputs;
      const auto copy = [&to](const uint8_t* from, size_t bytes) {
        for (size_t j = 0; j < bytes; j += kTileInputs, to += kTile) std::memcpy(to, from + j, kTileInputs);
      };
      const uint8_t* from = a + starts[first + i];
      if (whole) {
        for (const uint32_t run : runs.starts) copy(from + run, runs.length);
      } else {
        copy_runs<16>(from, runs, patch);
        std::memset(patch + filled, 0, steps * kTileInputs - filled);
        copy(patch, steps * kTileInputs);
      }
    }
    pixels[first] = static_cast<uint32_t>(at);
  }
}

}  // namespace bitdial
