// Products in int8 with AVX2, with the scales of blocks of 32 values as in Q8_0.
//
//   panel of weights, for each block:               a row of x:
//     [16][16][2] int8   2 values of 16 columns       [K]    int16
//     [16] float         the scale of each column     [K/32] float, the scale of each block
//
// vpmaddwd multiplies pairs of 16 bits and adds the two products in 32 bits; the weights are widened
// when they are loaded. (vpmaddubsw, on 8 bits, would round sums that are too large.)
#include "avx2.h"

namespace jlocal {
namespace {

using ymm::kColumns;

constexpr size_t kValues = kBlock * kColumns;
constexpr size_t kSize = kValues + 4 * kColumns;

bool runs_on(const Cpu& cpu) { return cpu.avx2; }
size_t panel_size(int64_t K) { return (size_t)(K / kBlock) * kSize; }

void pack(const Rows& rows, int64_t K, uint8_t* panel) {
    for (int64_t b = 0; b < K / kBlock; b++, panel += kSize)
        for (int n = 0; n < kColumns; n++) {
            const bool exists = n < rows.count;
            ((float*)(panel + kValues))[n] = exists ? rows.scales[n * (K / kBlock) + b] : 0.f;
            const int8_t* values = rows.values + (exists ? n * K + b * kBlock : 0);
            for (int k = 0; k < kBlock; k += 2) {
                uint16_t pair = 0;
                if (exists) __builtin_memcpy(&pair, values + k, 2);
                ((uint16_t*)panel)[k / 2 * kColumns + n] = pair;
            }
        }
}

size_t row_size(int64_t K) { return ((size_t)K * 2 + (size_t)(K / kBlock) * 4 + 63) / 64 * 64 + 64; }

void convert(const float* x, int64_t K, uint8_t* row) {
    float* scales = (float*)(row + 2 * K);
    for (int64_t b = 0; b < K / kBlock; b++) {
        __m256i bytes;
        scales[b] = ymm::quantise(x + b * kBlock, &bytes);
        __m256i* to = (__m256i*)(row + 2 * b * kBlock);
        _mm256_storeu_si256(to, _mm256_cvtepi8_epi16(_mm256_castsi256_si128(bytes)));
        _mm256_storeu_si256(to + 1, _mm256_cvtepi8_epi16(_mm256_extracti128_si256(bytes, 1)));
    }
}

struct Tile {
    static constexpr int kRows = 3;  // 6 registers of floats, 6 of integers, 2 of weights, 1 of x

    template <int R>
    static inline void run(const uint8_t* x, size_t stride, const uint8_t* w, int64_t K, float* c, size_t c_stride) {
        if constexpr (R <= kRows) {
            __m256 sum[R][2];
            for (int i = 0; i < R; i++) sum[i][0] = sum[i][1] = _mm256_setzero_ps();
            const uint8_t* scales = x + 2 * K;
            for (int64_t b = 0; b < K / kBlock; b++, w += kSize, x += 2 * kBlock, scales += 4) {
                __m256i t[R][2];
                for (int i = 0; i < R; i++) t[i][0] = t[i][1] = _mm256_setzero_si256();
#pragma GCC unroll 4
                for (int k = 0; k < kBlock / 2; k++) {
                    const __m256i w0 = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i*)(w + 32 * k)));
                    const __m256i w1 = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i*)(w + 32 * k + 16)));
#pragma GCC unroll 3
                    for (int i = 0; i < R; i++) {
                        int pair;
                        __builtin_memcpy(&pair, x + i * stride + 4 * k, sizeof pair);
                        const __m256i v = _mm256_set1_epi32(pair);
                        t[i][0] = _mm256_add_epi32(t[i][0], _mm256_madd_epi16(w0, v));
                        t[i][1] = _mm256_add_epi32(t[i][1], _mm256_madd_epi16(w1, v));
                    }
                }
                const __m256 s0 = _mm256_loadu_ps((const float*)(w + kValues)), s1 = _mm256_loadu_ps((const float*)(w + kValues) + 8);
                for (int i = 0; i < R; i++) ymm::add_scaled(sum[i], t[i], s0, s1, scales + i * stride);
            }
            for (int i = 0; i < R; i++) {
                _mm256_storeu_ps(c + i * c_stride, sum[i][0]);
                _mm256_storeu_ps(c + i * c_stride + 8, sum[i][1]);
            }
        }
    }
};

}  // namespace

extern const Family kFamilyInt8Avx2;
const Family kFamilyInt8Avx2{"int8-avx2", Form::kInt8, kColumns, runs_on, panel_size, pack, row_size, convert, ymm::panel<Tile>};

}  // namespace jlocal
