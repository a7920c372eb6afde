#include "weights.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "large_pages.h"
#include "pack.h"
#include "product.h"

namespace jlocal {
namespace {

using ggml::api;
using ggml::Buffer;
using ggml::BufferType;
using ggml::Tensor;

constexpr int kMaxFamilies = 16;

int packing_threads = 1;

// llama.cpp never does this to weights; going on would compute with wrong ones.
[[noreturn]] void refuse(const char* what) {
    std::fprintf(stderr, "jlocal's kernels: %s\n", what);
    std::abort();
}

bool is_packed(const Tensor* t) { return t->op == ggml::kNone && !t->view_src && packs(t); }

// Drop the pages of the mapped file that hold packed weights: llama.cpp reads them no more, and the
// model would be in memory twice.
void release_pages(void* data, size_t size) {
    const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
    const uintptr_t begin = ((uintptr_t)data + page - 1) / page * page, end = ((uintptr_t)data + size) / page * page;
    if (begin < end) madvise((void*)begin, end - begin, MADV_DONTNEED);
}

void buffer_free(Buffer* buffer) { std::free(buffer->context); }
void* buffer_base(Buffer* buffer) { return buffer->context; }
void buffer_memset(Buffer*, Tensor* t, uint8_t value, size_t offset, size_t size) {
    if (is_packed(t)) refuse("packed weights cannot be filled with a value");
    std::memset(static_cast<uint8_t*>(t->data) + offset, value, size);
}
void buffer_set(Buffer* buffer, Tensor* t, const void* data, size_t offset, size_t size) {
    if (!is_packed(t)) {
        std::memcpy(static_cast<uint8_t*>(t->data) + offset, data, size);
        return;
    }
    if (offset != 0 || size != api.ggml_nbytes(t)) refuse("packed weights cannot be changed in part");
    Threads threads;
    threads.set_count(packing_threads);
    if (!pack(*family_of(buffer->type, t), t->type, data, t->ne[1], t->ne[0], static_cast<uint8_t*>(t->data), threads))
        refuse("out of memory while weights were packed");
    release_pages(const_cast<void*>(data), size);
}
void buffer_get(Buffer*, const Tensor* t, void* data, size_t offset, size_t size) {
    if (is_packed(t)) refuse("packed weights cannot be read back");
    std::memcpy(data, static_cast<const uint8_t*>(t->data) + offset, size);
}
void buffer_clear(Buffer* buffer, uint8_t value) { std::memset(buffer->context, value, buffer->size); }

const char* type_name(BufferType*) { return "JLOCAL"; }
Buffer* type_alloc(BufferType* type, size_t size) {
    void* memory = allocate_large(size);
    if (!memory) return nullptr;
    ggml::BufferFunctions functions = {};
    functions.free_buffer = buffer_free;
    functions.get_base = buffer_base;
    functions.memset_tensor = buffer_memset;
    functions.set_tensor = buffer_set;
    functions.get_tensor = buffer_get;
    functions.clear = buffer_clear;
    return api.ggml_backend_buffer_init(type, functions, memory, size);
}
size_t type_alignment(BufferType*) { return 64; }
size_t type_alloc_size(BufferType* type, const Tensor* t) {
    return packs(t) ? packed_size(*family_of(type, t), t->ne[1], t->ne[0]) : api.ggml_nbytes(t);
}
bool type_is_host(BufferType*) { return false; }

}  // namespace

BufferType* buffer_type(const Family& family, ggml::Device* device) {
    static BufferType types[kMaxFamilies];
    static const bool made = [device] {
        for (int i = 0; i < kFamilyCount && i < kMaxFamilies; i++)
            types[i] = {{type_name, type_alloc, type_alignment, nullptr, type_alloc_size, type_is_host},
                        device, const_cast<Family*>(kFamilies[i])};
        return true;
    }();
    for (int i = 0; made && i < kFamilyCount && i < kMaxFamilies; i++)
        if (kFamilies[i] == &family) return &types[i];
    return nullptr;
}

bool is_ours(const BufferType* type) { return type->functions.alloc_buffer == type_alloc; }

const Family* family_of(const BufferType* type, const Tensor* w) {
    if (!is_ours(type)) return nullptr;
    const auto* family = static_cast<const Family*>(type->context);
    return w->type == ggml::kQ8_0 && family->for_q8_0 ? family->for_q8_0 : family;
}

bool packs(const Tensor* w) {
    const int64_t K = w->ne[0], N = w->ne[1];
    return !std::strncmp(w->name, "blk.", 4) && w->ne[2] == 1 && w->ne[3] == 1 && N > 0 && N < (1 << 30) && K > 0 &&
           K < (1 << 30) && K % kBlock == 0 && readable(w->type) && api.ggml_is_contiguous(w);
}

void set_packing_threads(int count) { packing_threads = count; }

}  // namespace jlocal
