// The functions that the library exports: to ggml, to jlocal, and to the tests of its kernels.
#include <time.h>

#include <algorithm>
#include <cstring>
#include <exception>
#include <string>
#include <vector>

#include "attend.h"
#include "backend.h"
#include "capture.h"
#include "pack.h"
#include "product.h"
#include "tokens.h"

#define PUBLIC extern "C" __attribute__((visibility("default")))

using namespace jlocal;

namespace {

constexpr int kAbi = 2;  // version of the functions in this file

// More threads would only wait for memory.
int packing_threads() { return std::min(8, usable_cpus()); }

}  // namespace

// ------------------------------------------------------------------------------------------ ggml

// Zero makes ggml_backend_load refuse the library.
PUBLIC int ggml_backend_score(void) { return fastest(Form::kBf16) || fastest(Form::kInt8) ? 1 : 0; }

PUBLIC ggml::Registry* ggml_backend_init(void) { return ggml::bind() ? nullptr : registry(); }

// ---------------------------------------------------------------------------------------- jlocal

PUBLIC int jlocal_kernels_abi(void) { return kAbi; }

// The version of ggml that the library was compiled for.
PUBLIC const char* jlocal_kernels_ggml_version(void) { return ggml::kVersion; }

// Why the library cannot work with the ggml that is loaded; NULL if it can.
PUBLIC const char* jlocal_kernels_refusal(void) { return ggml::bind(); }

// The families that this processor can run, separated by commas.
PUBLIC const char* jlocal_kernels_families(void) {
    static const std::string names = [] {
        std::string found;
        for (int i = 0; i < kFamilyCount; i++)
            if (kFamilies[i]->runs_on(cpu())) found += std::string(found.empty() ? "" : ",") + kFamilies[i]->name;
        if (attention_kernels()) found += ",attention";
        return found;
    }();
    return names.c_str();
}

// Choose the kernels for models and contexts that are made from now on: "bf16", "int8", or "" for
// ggml's own kernels; whether this library also computes attention; and whether a callback of the context
// captures `result_norm` and stops there. Returns 1, or 0 if this processor has no family for the type; the
// library then computes nothing.
PUBLIC int jlocal_kernels_configure(const char* compute_type, int attention, int capture) {
    const Family* family = nullptr;
    if (!std::strcmp(compute_type, "bf16")) family = fastest(Form::kBf16);
    if (!std::strcmp(compute_type, "int8")) family = fastest(Form::kInt8);
    configure({family, family && attention, capture != 0, packing_threads()});
    return family || !*compute_type ? 1 : 0;
}

// llama.cpp's cb_eval; its cb_eval_user_data is a Capture.
PUBLIC bool jlocal_kernels_capture(ggml::Tensor* tensor, bool ask, void* user_data) {
    return capture(tensor, ask, *static_cast<Capture*>(user_data));
}

// ----------------------------------------------------------------------------------------- tests

// out [M][N] = x [M][K] times N rows in a type of ggml, packed for a family, on `threads` threads.
// Returns 0, or -1 if the family or the type is not available, or memory runs out.
PUBLIC int jlocal_kernels_test_mul_mat(const char* family_name, int64_t M, int64_t N, int64_t K, int type, const void* weights,
                                       const float* x, float* out, int threads) try {
    const Family* family = family_by_name(family_name);
    // Float32 is read without ggml, so that kernels can be tried where it does not run.
    if (!family || K % kBlock || (type != ggml::kF32 && (ggml::bind() || !readable((ggml::Type)type)))) return -1;
    Threads pool;
    pool.set_count(threads);
    Scratch panels, scratch;
    uint8_t* packed = panels.take(packed_size(*family, N, K));
    if (!packed || !pack(*family, (ggml::Type)type, weights, N, K, packed, pool)) return -1;
    const Packed w{family, packed, N, K};
    return multiply(w, {x, M}, false, nullptr, out, scratch, pool) ? 0 : -1;
} catch (const std::exception&) {
    return -1;
}

// out [M][O] = rows of g / (1 + exp(-g)) * u, for g = x [M][K] times `gate` [N][K] and u likewise, times
// `down` [O][N]; all in float32. Returns 0, or -1 as above, or if the family has no such product.
PUBLIC int jlocal_kernels_test_gated(const char* family_name, int64_t M, int64_t N, int64_t K, int64_t O, const float* gate, const float* up,
                                     const float* down, const float* x, float* out, int threads) try {
    const Family* family = family_by_name(family_name);
    if (!family || K % kBlock || N % kBlock) return -1;
    Threads pool;
    pool.set_count(threads);
    Scratch panels[3], scratch, result;
    const struct { const float* values; int64_t N, K; } matrices[] = {{gate, N, K}, {up, N, K}, {down, O, N}};
    Packed packed[3];
    for (int i = 0; i < 3; i++) {
        const auto& w = matrices[i];
        uint8_t* to = panels[i].take(packed_size(*family, w.N, w.K));
        if (!to || !pack(*family, ggml::kF32, w.values, w.N, w.K, to, pool)) return -1;
        packed[i] = {family, to, w.N, w.K};
    }
    return can_gate(packed[0], packed[1], packed[2]) &&
                   multiply_gated(packed[0], packed[1], {x, M}, false, packed[2], scratch, result, pool) &&
                   multiply(packed[2], {nullptr, M}, true, nullptr, out, result, pool)
               ? 0
               : -1;
} catch (const std::exception&) {
    return -1;
}

// Processor time of this thread for one product, in seconds, the minimum of several; negative if the
// family is not available. All families multiply the same values.
PUBLIC double jlocal_kernels_test_seconds(const char* family_name, int64_t M, int64_t N, int64_t K, int repetitions) try {
    const Family* family = family_by_name(family_name);
    if (!family || K % kBlock) return -1;
    Threads alone;
    Scratch panels, scratch, memory[2];  // on large pages, as a context's memory
    const size_t count = (size_t)(std::max(M, N) * K);
    auto *values = (float*)memory[0].take(4 * count), *out = (float*)memory[1].take((size_t)(4 * M * N));
    uint8_t* packed = panels.take(packed_size(*family, N, K));
    if (!values || !out || !packed) return -1;
    for (size_t i = 0; i < count; i++) values[i] = (float)(i * 2654435761u % 2001) / 1000 - 1;
    if (!pack(*family, ggml::kF32, values, N, K, packed, alone)) return -1;
    double least = 1e9;
    for (int i = 0; i < repetitions; i++) {
        timespec begin, end;
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &begin);
        if (!multiply({family, packed, N, K}, {values, M}, false, nullptr, out, scratch, alone)) return -1;
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &end);
        least = std::min(least, (double)(end.tv_sec - begin.tv_sec) + 1e-9 * (double)(end.tv_nsec - begin.tv_nsec));
    }
    return least;
} catch (const std::exception&) {
    return -1;
}

// Compute a graph of tokenwise operations whose tensors have memory. Returns the number of runs, or -1 if
// an operation is not one of these, or a run fails.
PUBLIC int jlocal_kernels_test_tokenwise(ggml::Graph* graph, int threads) try {
    if (ggml::bind()) return -1;
    Threads pool;
    pool.set_count(threads);
    Rotations rotations;
    const std::vector<ggml::Tensor*> ops = operations(graph);
    const int count = (int)ops.size();
    if (!std::all_of(ops.begin(), ops.end(), is_tokenwise)) return -1;
    int runs = 0;
    for (int first = 0; first < count; runs++) {
        const int length = run_length(&ops[first], count - first);
        if (!compute_run(&ops[first], length, nullptr, rotations, pool)) return -1;
        first += length;
    }
    return runs;
} catch (const std::exception&) {
    return -1;
}

// out [queries][heads][DV] from q [heads][queries][D] in float32, k [key_heads][keys][D] and
// v [key_heads][keys][DV] in float16, and mask [queries][keys] in float16 or NULL, by the kernels
// "amx", "bf16" or "avx2"; in float32, or if `in_bf16`, in bfloat16.
PUBLIC int jlocal_kernels_test_attention(const char* name, int64_t queries, int64_t keys, int64_t heads, int64_t key_heads, int64_t D, int64_t DV,
                                         const float* q, const void* k, const void* v, const void* mask, float scale, void* out,
                                         int in_bf16, int threads) try {
    const AttentionKernels* kernels = attention_kernels(name);
    if (!kernels) return -1;
    Threads pool;
    pool.set_count(threads);
    Scratch scratch;
    Visibility visibility;
    Attention a{{(const uint8_t*)q, (size_t)D * 4, (size_t)(D * queries) * 4},
                      {(const uint8_t*)k, (size_t)D * 2, (size_t)(D * keys) * 2},
                      {(const uint8_t*)v, (size_t)DV * 2, (size_t)(DV * keys) * 2},
                      (const uint8_t*)mask, (size_t)keys * 2, (float*)out, D, DV, queries, keys, heads, key_heads, scale};
    if (in_bf16) {
        if (!kernels->writes_bf16) return -1;
        a.bf16 = (uint8_t*)out;
        a.bf16_row = (size_t)(2 * heads * DV);
    }
    return attend(*kernels, a, visibility, scratch, pool) ? 0 : -1;
} catch (const std::exception&) {
    return -1;
}
