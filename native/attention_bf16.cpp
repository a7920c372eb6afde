// Attention with AVX512-BF16.
#include "attention_bf16.h"

namespace jlocal {
namespace {

bool runs_on(const Cpu& cpu) { return cpu.avx512_bf16; }

struct Products {
    static void begin() {}
    static void end() {}
    static void multiply(const uint16_t* q, size_t q_row, int rows, const uint16_t* keys, int64_t D, float* scores, size_t score_row) {
        tile::panel<false>(q, q_row, rows, keys, D, scores, score_row);
    }
    static void add(const uint16_t* weights, size_t weight_row, int rows, const uint16_t* values, int64_t keys, float* o, size_t o_row, const float* keep) {
        tile::panel<true>(weights, weight_row, rows, values, keys, o, o_row, keep);
    }
};

}  // namespace

extern const AttentionKernels kAttentionBf16;
const AttentionKernels kAttentionBf16 = kernels_with<Products>("bf16", runs_on);

}  // namespace jlocal
