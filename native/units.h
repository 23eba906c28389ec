#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace bitdial {

/**
 * Which unit of a piece of work is next, in one word: epoch (24 bits) | units (20) | next (20). Whoever moves the word on by one
 * has that unit.
 */
constexpr uint64_t kMostUnits = (uint64_t{1} << 20) - 1;

/** The word of a new piece of work, of another epoch than the one before. */
inline uint64_t piece_of_work(const std::atomic<uint64_t>& before, size_t units) {
  const uint64_t epoch = (before.load(std::memory_order_relaxed) >> 40) + 1;
  return epoch << 40 | static_cast<uint64_t>(units) << 20;
}

/** Takes a unit if there is one. */
inline bool take_unit(std::atomic<uint64_t>& word, size_t& unit) {
  uint64_t seen = word.load(std::memory_order_acquire);
  do {
    if ((seen & kMostUnits) >= ((seen >> 20) & kMostUnits)) return false;
  } while (!word.compare_exchange_weak(seen, seen + 1, std::memory_order_acq_rel));
  unit = static_cast<size_t>(seen & kMostUnits);
  return true;
}

}  // namespace bitdial
