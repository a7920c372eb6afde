// Pages of 2 MB in place of 4 KB. A product reads and writes many pages, and the processor's table of
// addresses holds few; a miss is slow, and slower still in a virtual machine. Only speed depends on
// it: a system without large pages computes the same.
#pragma once
#include <sys/mman.h>

#include <cstdint>
#include <cstdlib>

namespace jlocal {

inline constexpr size_t kLargePage = size_t{2} << 20;

// Memory for `std::free`, on large pages once it is touched; nullptr if there is none.
inline void* allocate_large(size_t size) {
    const size_t room = (size + kLargePage - 1) / kLargePage * kLargePage;
    void* memory = room < size ? nullptr : std::aligned_alloc(kLargePage, room);
#ifdef MADV_HUGEPAGE
    if (memory) madvise(memory, room, MADV_HUGEPAGE);
#endif
    return memory;
}

// Move memory that ggml allocated to large pages, except for its ends.
inline void move_to_large(void* memory, size_t size) {
#ifdef MADV_HUGEPAGE
    const uintptr_t begin = ((uintptr_t)memory + kLargePage - 1) / kLargePage * kLargePage;
    const uintptr_t end = ((uintptr_t)memory + size) / kLargePage * kLargePage;
    if (begin >= end) return;
    madvise((void*)begin, end - begin, MADV_HUGEPAGE);
    constexpr int kCollapse = 25;  // MADV_COLLAPSE, which older headers lack: for pages that were touched
    madvise((void*)begin, end - begin, kCollapse);
#endif
}

}  // namespace jlocal
