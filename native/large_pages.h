// Pages of 2 MB in place of 4 KB: what a product reads and writes is far apart, and each page has an
// entry in the processor's table of addresses, which is small; in a virtual machine it takes twice
// as long to find one that is not there. A matter of speed alone: where the system has no such
// pages, nothing changes.
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

// Move memory of others to large pages, as far as it fills them.
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
