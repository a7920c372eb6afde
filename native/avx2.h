// Functions that the kernels with 16 registers of 256 bits share.
#pragma once
#include <immintrin.h>

#include "family.h"

namespace jlocal {
namespace {
namespace ymm {

constexpr int kColumns = 16;  // two registers of floats

// Quantise 32 values to multiples of 1/127 of the largest, in order; return this scale. Compared as
// integers, NaN is above infinity and infinity above all numbers, so the scale is not finite if a
// value is not.
inline float quantise(const float* x, __m256i* bytes) {
    __m256 v[4];
    __m256i top = _mm256_setzero_si256();
    for (int i = 0; i < 4; i++) {
        v[i] = _mm256_loadu_ps(x + 8 * i);
        top = _mm256_max_epi32(top, _mm256_and_si256(_mm256_castps_si256(v[i]), _mm256_set1_epi32(0x7fffffff)));
    }
    __m128i half = _mm_max_epi32(_mm256_castsi256_si128(top), _mm256_extracti128_si256(top, 1));
    half = _mm_max_epi32(half, _mm_shuffle_epi32(half, 0x4e));
    half = _mm_max_epi32(half, _mm_shuffle_epi32(half, 0xb1));
    const float most = _mm_cvtss_f32(_mm_castsi128_ps(half));
    // Below this the inverse would be infinite; such values are taken as zero.
    const __m256 inverse = _mm256_set1_ps(most >= 1e-36f ? 127.f / most : 0.f);
    __m256i whole[4];
    for (int i = 0; i < 4; i++) whole[i] = _mm256_cvtps_epi32(_mm256_mul_ps(v[i], inverse));
    // Packing interleaves the halves of its operands: 0 8 16 24 | 4 12 20 28, in words of 4 bytes.
    const __m256i mixed = _mm256_packs_epi16(_mm256_packs_epi32(whole[0], whole[1]), _mm256_packs_epi32(whole[2], whole[3]));
    *bytes = _mm256_permutevar8x32_epi32(mixed, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
    return most / 127.f;
}

// Multiply any number of rows by one panel, `kRows` at a time; a partial panel goes through a copy.
// Tile::run<R>(x, stride, w, K, c, c_stride) computes R rows.
template <class Tile>
inline void whole_panel(const uint8_t* x, size_t stride, int64_t count, const uint8_t* w, int64_t K, float* c, size_t c_stride) {
    for (int64_t tiles = (count + Tile::kRows - 1) / Tile::kRows; tiles > 0; tiles--) {
        const int64_t here = (count + tiles - 1) / tiles;
        switch (here) {
            case 6: Tile::template run<6>(x, stride, w, K, c, c_stride); break;
            case 5: Tile::template run<5>(x, stride, w, K, c, c_stride); break;
            case 4: Tile::template run<4>(x, stride, w, K, c, c_stride); break;
            case 3: Tile::template run<3>(x, stride, w, K, c, c_stride); break;
            case 2: Tile::template run<2>(x, stride, w, K, c, c_stride); break;
            default: Tile::template run<1>(x, stride, w, K, c, c_stride);
        }
        x += here * stride;
        c += here * c_stride;
        count -= here;
    }
}

template <class Tile>
inline void panel(const uint8_t* x, size_t stride, int64_t rows, const uint8_t* w, int64_t K, float* out, size_t out_stride, int columns, uint8_t*,
                  Pass, Later&) {
    if (columns == kColumns) return whole_panel<Tile>(x, stride, rows, w, K, out, out_stride);
    float whole[Tile::kRows * kColumns];  // the columns that exist are copied from here
    for (int64_t m = 0; m < rows; m += Tile::kRows) {
        const int64_t here = rows - m < Tile::kRows ? rows - m : Tile::kRows;
        whole_panel<Tile>(x + m * stride, stride, here, w, K, whole, kColumns);
        for (int64_t i = 0; i < here; i++)
            __builtin_memcpy(out + (m + i) * out_stride, whole + i * kColumns, columns * sizeof(float));
    }
}

// sum += t as float * s * d, for the two registers of a row.
inline void add_scaled(__m256* sum, const __m256i* t, __m256 s0, __m256 s1, const uint8_t* scale) {
    const __m256 d = _mm256_broadcast_ss((const float*)scale);
    sum[0] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(t[0]), _mm256_mul_ps(s0, d), sum[0]);
    sum[1] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(t[1]), _mm256_mul_ps(s1, d), sum[1]);
}

}  // namespace ymm
}  // namespace
}  // namespace jlocal
