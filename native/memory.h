#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>

// The sanitizers watch the allocator's memory, not the system's.
#if defined(__linux__) && !defined(__SANITIZE_ADDRESS__)
#define BITDIAL_MAPS 1
#include <sys/mman.h>
#include <unistd.h>
#else
#define BITDIAL_MAPS 0
#endif

namespace bitdial {

/** Bytes that all plans of the process hold; what `memoryBytes` of a variant adds to it. */
inline std::atomic<size_t> g_plan_bytes{0};

/** Bytes past the end that kernels may read at most (kSlack, kTileSlack in kernels.h). */
constexpr size_t kMostSlack = 1024;

/** Zeroed bytes on a cache line of their own, with slack that kernels may read past the end. */
class Memory {
 public:
  Memory() = default;
  explicit Memory(size_t size) : size_(size), data_(allocate(rounded(size))) {
    if (!data_) throw std::bad_alloc();
  }
  Memory(Memory&& other) noexcept { swap(other); }
  Memory& operator=(Memory&& other) noexcept {
    swap(other);
    return *this;
  }
  ~Memory() {
    if (data_) release(data_, rounded(size_));
  }

  uint8_t* data() const { return data_; }
  template <typename T>
  T* as(size_t byte_offset = 0) const {
    return reinterpret_cast<T*>(data_ + byte_offset);
  }
  size_t size() const { return size_; }

  /** At least `size` bytes; what was in it is lost when it grows. */
  uint8_t* ensure(size_t size) {
    if (size > size_ || !data_) *this = Memory(size);
    return data_;
  }

 private:
  static size_t rounded(size_t size) { return (size + kMostSlack + 63) / 64 * 64; }

  /** From here on, memory is the system's own: in huge pages, and not left with the process when it is released. */
  static constexpr size_t kHuge = size_t{2} << 20;

  static uint8_t* allocate(size_t bytes) {
#if BITDIAL_MAPS
    if (bytes >= kHuge) return map(bytes);
#endif
    void* data = std::aligned_alloc(64, bytes);
    if (data) std::memset(data, 0, bytes);
    return static_cast<uint8_t*>(data);
  }

  static void release(uint8_t* data, size_t bytes) {
#if BITDIAL_MAPS
    if (bytes >= kHuge) {
      munmap(data, bytes);
      return;
    }
#endif
    std::free(data);
  }

#if BITDIAL_MAPS
  /**
   * Zeros, in huge pages where there are such, as far as they are full: weights then come from memory by half as fast again.
   * An allocator would give pages again that were small ones before.
   */
  static uint8_t* map(size_t bytes) {
    void* const mapped = mmap(nullptr, bytes + kHuge, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped == MAP_FAILED) return nullptr;
    uint8_t* const begin = static_cast<uint8_t*>(mapped);
    const size_t before = (kHuge - reinterpret_cast<uintptr_t>(begin) % kHuge) % kHuge;
    uint8_t* const data = begin + before;
    if (before > 0) munmap(begin, before);
    const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE)), end = (bytes + page - 1) / page * page;
    if (end < bytes + kHuge - before) munmap(data + end, bytes + kHuge - before - end);
    madvise(data, bytes / kHuge * kHuge, MADV_HUGEPAGE);
    return data;
  }
#endif

  void swap(Memory& other) {
    std::swap(size_, other.size_);
    std::swap(data_, other.data_);
  }

  size_t size_ = 0;
  uint8_t* data_ = nullptr;
};

}  // namespace bitdial
