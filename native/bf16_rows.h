// Panels and rows in bfloat16, for AVX512-BF16 and AMX; the layouts are drawn in bf16_tile.h, and that of
// tiles in amx_tile.h.
#pragma once
#include "bf16_tile.h"

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

// The arithmetic is that of tokenwise_avx2.cpp, to the bit.
inline __m512 exponential(__m512 x) {
    x = _mm512_min_ps(_mm512_set1_ps(88.f), _mm512_max_ps(_mm512_set1_ps(-87.f), x));
    const __m512 k = _mm512_roundscale_ps(_mm512_mul_ps(x, _mm512_set1_ps(1.44269504088896341f)), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    __m512 r = _mm512_fnmadd_ps(k, _mm512_set1_ps(0.693359375f), x);
    r = _mm512_fnmadd_ps(k, _mm512_set1_ps(-2.12194440e-4f), r);
    __m512 p = _mm512_set1_ps(1.9875691500e-4f);
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.3981999507e-3f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(8.3334519073e-3f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(4.1665795894e-2f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.6666665459e-1f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(5.0000001201e-1f));
    p = _mm512_add_ps(_mm512_fmadd_ps(p, _mm512_mul_ps(r, r), r), _mm512_set1_ps(1.f));
    const __m512i power = _mm512_slli_epi32(_mm512_add_epi32(_mm512_cvtps_epi32(k), _mm512_set1_epi32(127)), 23);
    return _mm512_mul_ps(p, _mm512_castsi512_ps(power));
}

inline __m512 gated(const float* gate, const float* up) {
    const __m512 x = _mm512_loadu_ps(gate);
    const __m512 below = _mm512_add_ps(_mm512_set1_ps(1.f), exponential(_mm512_sub_ps(_mm512_setzero_ps(), x)));
    return _mm512_mul_ps(_mm512_div_ps(x, below), _mm512_loadu_ps(up));
}

inline void convert_gated(const float* gate, const float* up, int64_t first, int64_t count, uint8_t* row) {
    for (int64_t i = 0; i < count; i += 32)
        _mm512_storeu_si512(row + 2 * (first + i), (__m512i)_mm512_cvtne2ps_pbh(gated(gate + i + 16, up + i + 16), gated(gate + i, up + i)));
}

}  // namespace
}  // namespace jlocal
