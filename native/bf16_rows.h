// Panels and rows in bfloat16, for AVX512-BF16 and AMX; the layouts are drawn in bf16_tile.h, and that of
// tiles in amx_tile.h.
#pragma once
#include "bf16_tile.h"
#include "gate_avx512.h"

namespace jlocal {
namespace {

using tile::kColumns;

inline size_t panel_size(int64_t K) { return (size_t)K * kColumns * 2; }

template <bool kTiled>
inline void pack(const Rows& rows, int64_t K, uint8_t* panel) {
    for (int64_t k = 0; k < K; k += 32)
        for (int n = 0; n < kColumns; n += 16) {
            __m512i r[16];  // 16 pairs of 16 columns
            for (int i = 0; i < 16; i++)
                r[i] = n + i < rows.count ? _mm512_loadu_si512(rows.bf16 + (n + i) * rows.stride + k) : _mm512_setzero_si512();
            tile::transpose(r);
            uint8_t* to = panel + (kTiled ? 2 * (k * kColumns + 32 * n) : 4 * (k / 2 * kColumns + n));
            for (int i = 0; i < 16; i++) _mm512_storeu_si512(to + i * (kTiled ? 64 : 4 * kColumns), r[i]);
        }
}

// 64 bytes more than the values: rows whose addresses differ by a multiple of 4,096 would compete
// for the same lines of the first-level cache.
inline size_t row_size(int64_t K) { return ((size_t)K * 2 + 63) / 64 * 64 + 64; }

inline void convert(const float* x, int64_t K, uint8_t* row) {
    for (int64_t k = 0; k < K; k += 32)
        _mm512_storeu_si512(row + 2 * k, (__m512i)_mm512_cvtne2ps_pbh(_mm512_loadu_ps(x + k + 16), _mm512_loadu_ps(x + k)));
}

inline void convert_gated(const float* gate, const float* up, int64_t first, int64_t count, int64_t, uint8_t* row) {
    for (int64_t i = 0; i < count; i += 32)
        _mm512_storeu_si512(row + 2 * (first + i), (__m512i)_mm512_cvtne2ps_pbh(gated(gate + i + 16, up + i + 16), gated(gate + i, up + i)));
}

}  // namespace
}  // namespace jlocal
