// Products in int8 with AVX512-VNNI, with the scales of blocks of 32 values as in Q8_0.
//
//   panel of weights, for each block:              a row of x:
//     [8][32][4] int8    4 values of 32 columns      [K]    uint8, the value + 128
//     [32] int16         minus the sum of the block   [K/32] float, the scale of each block
//     [32] float16       its scale
//
// vpdpbusd multiplies unsigned by signed bytes, so x is stored with 128 added; the sums begin with
// what that adds, negated. After each block its sums become floats, times both scales.
#include <immintrin.h>

#include "family.h"
#include "gate_avx512.h"

namespace jlocal {
namespace {

constexpr int kColumns = 32;
constexpr int kRows = 6;
constexpr size_t kValues = kBlock * kColumns;           // bytes of a block's values
constexpr size_t kSize = kValues + 2 * 2 * kColumns;    // and of the whole block

bool runs_on(const Cpu& cpu) { return cpu.avx512_vnni; }
size_t panel_size(int64_t K) { return (size_t)(K / kBlock) * kSize; }

void pack(const Rows& rows, int64_t K, uint8_t* panel) {
    const int64_t blocks = K / kBlock;
    for (int64_t b = 0; b < blocks; b++, panel += kSize) {
        int32_t* quads = (int32_t*)panel;
        int16_t* sums = (int16_t*)(panel + kValues);
        float scales[kColumns] = {};
        for (int n = 0; n < kColumns; n++) {
            __m256i values = _mm256_setzero_si256();
            if (n < rows.count) {
                values = _mm256_loadu_si256((const __m256i*)(rows.values + n * K + b * kBlock));
                scales[n] = rows.scales[n * blocks + b];
            }
            // Sums of 4 signed values by a product with 1, then of the 8 sums.
            const __m256i ones = _mm256_dpbusd_epi32(_mm256_setzero_si256(), _mm256_set1_epi8(1), values);
            const __m128i half = _mm_add_epi32(_mm256_castsi256_si128(ones), _mm256_extracti128_si256(ones, 1));
            const __m128i pair = _mm_add_epi32(half, _mm_unpackhi_epi64(half, half));
            sums[n] = (int16_t)-(_mm_cvtsi128_si32(pair) + _mm_extract_epi32(pair, 1));
            // The 8 quads of this column lie `kColumns` words apart.
            const __m256i places = _mm256_mullo_epi32(_mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7), _mm256_set1_epi32(kColumns));
            _mm256_i32scatter_epi32(quads + n, places, values, 4);
        }
        for (int n = 0; n < kColumns; n += 16)
            _mm256_storeu_si256((__m256i*)(panel + kValues + 2 * kColumns) + n / 16, _mm512_cvtps_ph(_mm512_loadu_ps(scales + n), 0));
    }
}

size_t row_size(int64_t K) { return ((size_t)K + (size_t)(K / kBlock) * 4 + 63) / 64 * 64 + 64; }

// Convert a block of a row; returns its scale.
inline float convert_block(__m512 u, __m512 v, uint8_t* row) {
    const __m512i positive = _mm512_set1_epi32(0x7fffffff);
    // As integers, NaN is above infinity and infinity above all numbers, so that the scale of a
    // block with one of them is not finite, and no product with it is.
    const __m512i top = _mm512_max_epi32(_mm512_and_epi32((__m512i)u, positive), _mm512_and_epi32((__m512i)v, positive));
    const int bits = _mm512_reduce_max_epi32(top);
    float most;
    __builtin_memcpy(&most, &bits, sizeof most);
    // Below this the inverse would be infinite; the values are as good as zero.
    const __m512 inverse = _mm512_set1_ps(most >= 1e-36f ? 127.f / most : 0.f);
    const __m512i p = _mm512_cvtps_epi32(_mm512_mul_ps(u, inverse)), q = _mm512_cvtps_epi32(_mm512_mul_ps(v, inverse));
    const __m256i bytes = _mm256_set_m128i(_mm512_cvtsepi32_epi8(q), _mm512_cvtsepi32_epi8(p));
    _mm256_storeu_si256((__m256i*)row, _mm256_xor_si256(bytes, _mm256_set1_epi8((char)0x80)));
    return most / 127.f;
}

void convert(const float* x, int64_t K, uint8_t* row) {
    float* scales = (float*)(row + K);
    for (int64_t i = 0; i < K; i += kBlock) scales[i / kBlock] = convert_block(_mm512_loadu_ps(x + i), _mm512_loadu_ps(x + i + 16), row + i);
}

void convert_gated(const float* gate, const float* up, int64_t first, int64_t count, int64_t K, uint8_t* row) {
    float* scales = (float*)(row + K) + first / kBlock;
    for (int64_t i = 0; i < count; i += kBlock)
        scales[i / kBlock] = convert_block(gated(gate + i, up + i), gated(gate + i + 16, up + i + 16), row + first + i);
}

// 128 times 16 of the sums, and 16 of the scales.
inline __m512i correction(const uint8_t* sums) {
    return _mm512_slli_epi32(_mm512_cvtepi16_epi32(_mm256_loadu_si256((const __m256i*)sums)), 7);
}
inline __m512 scale_of(const uint8_t* scales) { return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i*)scales)); }

// While few rows pass, weights are fetched ahead; for more, that would only take the place of other loads.
template <int R, bool kFew>
inline void tile(const uint8_t* x, size_t stride, const uint8_t* w, int64_t K, float* c, size_t c_stride) {
    __m512 sum[R][2];
#pragma GCC unroll 8
    for (int i = 0; i < R; i++) sum[i][0] = sum[i][1] = _mm512_setzero_ps();
    const float* scales = (const float*)(x + K);
    for (int64_t b = 0; b < K / kBlock; b++, w += kSize, x += kBlock) {
        const __m512i c0 = correction(w + kValues), c1 = correction(w + kValues + 32);
        __m512i t[R][2];
#pragma GCC unroll 8
        for (int i = 0; i < R; i++) t[i][0] = c0, t[i][1] = c1;
#pragma GCC unroll 8
        for (int k = 0; k < kBlock / 4; k++) {
            const __m512i w0 = _mm512_loadu_si512(w + k * 128), w1 = _mm512_loadu_si512(w + k * 128 + 64);
            if (kFew) {
                _mm_prefetch((const char*)(w + 2 * kSize + k * 128), _MM_HINT_T0);
                _mm_prefetch((const char*)(w + 2 * kSize + k * 128 + 64), _MM_HINT_T0);
            }
#pragma GCC unroll 8
            for (int i = 0; i < R; i++) {
                int quad;
                __builtin_memcpy(&quad, x + i * stride + 4 * k, sizeof quad);
                const __m512i v = _mm512_set1_epi32(quad);
                t[i][0] = _mm512_dpbusd_epi32(t[i][0], v, w0);
                t[i][1] = _mm512_dpbusd_epi32(t[i][1], v, w1);
            }
        }
        const __m512 s0 = scale_of(w + kValues + 64), s1 = scale_of(w + kValues + 96);
#pragma GCC unroll 8
        for (int i = 0; i < R; i++) {
            const __m512 d = _mm512_set1_ps(*(const float*)((const uint8_t*)(scales + b) + i * stride));
            sum[i][0] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(t[i][0]), _mm512_mul_ps(s0, d), sum[i][0]);
            sum[i][1] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(t[i][1]), _mm512_mul_ps(s1, d), sum[i][1]);
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < R; i++) {
        _mm512_storeu_ps(c + i * c_stride, sum[i][0]);
        _mm512_storeu_ps(c + i * c_stride + 16, sum[i][1]);
    }
}

template <bool kFew>
void panel_of(const uint8_t* x, size_t stride, int64_t count, const uint8_t* w, int64_t K, float* c, size_t c_stride) {
    for (int64_t tiles = (count + kRows - 1) / kRows; tiles > 0; tiles--) {
        const int64_t here = (count + tiles - 1) / tiles;
        switch (here) {
            case 6: tile<6, kFew>(x, stride, w, K, c, c_stride); break;
            case 5: tile<5, kFew>(x, stride, w, K, c, c_stride); break;
            case 4: tile<4, kFew>(x, stride, w, K, c, c_stride); break;
            case 3: tile<3, kFew>(x, stride, w, K, c, c_stride); break;
            case 2: tile<2, kFew>(x, stride, w, K, c, c_stride); break;
            default: tile<1, kFew>(x, stride, w, K, c, c_stride);
        }
        x += here * stride;
        c += here * c_stride;
        count -= here;
    }
}

template <bool kFew>
void multiply(const uint8_t* x, size_t stride, int64_t rows, const uint8_t* panel, int64_t K, float* out, size_t out_stride, int columns) {
    if (columns == kColumns) return panel_of<kFew>(x, stride, rows, panel, K, out, out_stride);
    float whole[kRows * kColumns];  // the columns that exist are copied from here
    for (int64_t m = 0; m < rows; m += kRows) {
        const int64_t here = rows - m < kRows ? rows - m : kRows;
        panel_of<kFew>(x + m * stride, stride, here, panel, K, whole, kColumns);
        for (int64_t i = 0; i < here; i++)
            __builtin_memcpy(out + (m + i) * out_stride, whole + i * kColumns, columns * sizeof(float));
    }
}

void multiply(const uint8_t* x, size_t stride, int64_t rows, const uint8_t* panel, int64_t K, float* out, size_t out_stride, int columns, uint8_t*,
              Pass pass, Later&) {
    (pass == Pass::kOnly ? multiply<true> : multiply<false>)(x, stride, rows, panel, K, out, out_stride, columns);
}

}  // namespace

extern const Family kFamilyInt8;
const Family kFamilyInt8{"int8", Form::kInt8, kColumns, runs_on, panel_size, pack, row_size, convert, multiply, nullptr, nullptr, convert_gated};

}  // namespace jlocal
