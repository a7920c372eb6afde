// The inner loop of products in bfloat16 with AVX512-BF16: up to 6 rows times a panel of 64 columns.
//
//   panel of weights:  [K/2][64][2]      a row of x:  [K]
//     k = 0,1   | n0: w w | n1: w w | … | n63: w w |     x0 x1 | x2 x3 | …
//     k = 2,3   | n0: w w | …                                |
//     …           └ 4 registers of 16 pairs ┘                └ one pair, broadcast
//
// vdpbf16ps adds the two products of each pair to a float: 6 x 4 registers of sums, 4 of weights
// and one of x fit the 32 registers, and each loaded weight is used for 6 rows.
#pragma once
#include <immintrin.h>

#include "family.h"

namespace jlocal {
namespace {
namespace tile {

constexpr int kColumns = 64;
constexpr int kRows = 6;

inline __m512bh load(const uint16_t* w) { return (__m512bh)_mm512_loadu_si512(w); }

// c = x * w, or c = c * factor[row] + x * w. `stride` of x in values, K even.
template <int R, bool kAdd>
inline void rows(const uint16_t* x, size_t stride, const uint16_t* w, int64_t K, float* c, size_t c_stride,
                 const float* factor) {
    __m512 sum[R][4];
#pragma GCC unroll 8
    for (int i = 0; i < R; i++)
#pragma GCC unroll 4
        for (int j = 0; j < 4; j++)
            sum[i][j] = kAdd ? _mm512_mul_ps(_mm512_loadu_ps(c + i * c_stride + 16 * j), _mm512_set1_ps(factor[i]))
                             : _mm512_setzero_ps();
    for (const uint16_t* end = w + K * kColumns; w < end; w += 2 * kColumns, x += 2) {
        const __m512bh w0 = load(w), w1 = load(w + 32), w2 = load(w + 64), w3 = load(w + 96);
        // The panel comes from the second-level cache, whose latency the processor's own prefetching
        // does not hide.
        const char* ahead = (const char*)(w + 2 * kColumns * 8);
        _mm_prefetch(ahead, _MM_HINT_T0);
        _mm_prefetch(ahead + 64, _MM_HINT_T0);
        _mm_prefetch(ahead + 128, _MM_HINT_T0);
        _mm_prefetch(ahead + 192, _MM_HINT_T0);
#pragma GCC unroll 8
        for (int i = 0; i < R; i++) {
            int pair;
            __builtin_memcpy(&pair, x + i * stride, sizeof pair);
            const __m512bh v = (__m512bh)_mm512_set1_epi32(pair);
            sum[i][0] = _mm512_dpbf16_ps(sum[i][0], w0, v);
            sum[i][1] = _mm512_dpbf16_ps(sum[i][1], w1, v);
            sum[i][2] = _mm512_dpbf16_ps(sum[i][2], w2, v);
            sum[i][3] = _mm512_dpbf16_ps(sum[i][3], w3, v);
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < R; i++)
#pragma GCC unroll 4
        for (int j = 0; j < 4; j++) _mm512_storeu_ps(c + i * c_stride + 16 * j, sum[i][j]);
}

// Multiply any number of rows by one panel, in tiles of nearly equal height.
template <bool kAdd>
inline void panel(const uint16_t* x, size_t stride, int64_t count, const uint16_t* w, int64_t K, float* c,
                  size_t c_stride, const float* factor = nullptr) {
    for (int64_t tiles = (count + kRows - 1) / kRows; tiles > 0; tiles--) {
        const int64_t here = (count + tiles - 1) / tiles;
        switch (here) {
            case 6: rows<6, kAdd>(x, stride, w, K, c, c_stride, factor); break;
            case 5: rows<5, kAdd>(x, stride, w, K, c, c_stride, factor); break;
            case 4: rows<4, kAdd>(x, stride, w, K, c, c_stride, factor); break;
            case 3: rows<3, kAdd>(x, stride, w, K, c, c_stride, factor); break;
            case 2: rows<2, kAdd>(x, stride, w, K, c, c_stride, factor); break;
            default: rows<1, kAdd>(x, stride, w, K, c, c_stride, factor);
        }
        x += here * stride;
        c += here * c_stride;
        factor += kAdd ? here : 0;
        count -= here;
    }
}

// 16 x 16 words of 32 bits: the word j of register i becomes word i of register j.
inline void transpose(__m512i* r) {
    __m512i t[16];
    for (int i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
    }
    for (int i = 0; i < 16; i += 4)
        for (int j = 0; j < 2; j++) {
            r[i + 2 * j] = _mm512_unpacklo_epi64(t[i + j], t[i + 2 + j]);
            r[i + 2 * j + 1] = _mm512_unpackhi_epi64(t[i + j], t[i + 2 + j]);
        }
    // Each quarter of 128 bits is transposed now; the quarters are exchanged next.
    for (int i = 0; i < 4; i++) {
        t[i] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0x88);
        t[i + 4] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0xdd);
        t[i + 8] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0x88);
        t[i + 12] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0xdd);
    }
    for (int i = 0; i < 4; i++) {
        r[i] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0x88);
        r[i + 8] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0xdd);
        r[i + 4] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0x88);
        r[i + 12] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0xdd);
    }
}

}  // namespace tile
}  // namespace
}  // namespace jlocal
