// Products in int8 with AVX-VNNI, on processors without AVX-512; scales of blocks as in Q8_0.
//
//   panel of weights, for each block:                  a row of x:
//     [8][16][4] int8    4 values of 16 columns          [K]    uint8, the value + 128
//     [16] int32         -128 * sum of the block         [K/32] float, the scale of each block
//     [16] float         its scale
//
// The same as int8.cpp, with registers of half the width and half as many of them.
#include "avx2.h"

namespace jlocal {
namespace {

using ymm::kColumns;

constexpr size_t kValues = kBlock * kColumns;
constexpr size_t kSize = kValues + 2 * 4 * kColumns;

bool runs_on(const Cpu& cpu) { return cpu.avx_vnni; }
size_t panel_size(int64_t K) { return (size_t)(K / kBlock) * kSize; }

void pack(const Rows& rows, int64_t K, uint8_t* panel) {
    for (int64_t b = 0; b < K / kBlock; b++, panel += kSize)
        for (int n = 0; n < kColumns; n++) {
            const bool exists = n < rows.count;
            const int8_t* values = rows.values + (exists ? n * K + b * kBlock : 0);
            int sum = 0;
            for (int k = 0; k < kBlock; k += 4) {
                int32_t quad = 0;
                if (exists) {
                    __builtin_memcpy(&quad, values + k, 4);
                    sum += values[k] + values[k + 1] + values[k + 2] + values[k + 3];
                }
                ((int32_t*)panel)[k / 4 * kColumns + n] = quad;
            }
            ((int32_t*)(panel + kValues))[n] = -128 * sum;
            ((float*)(panel + kValues))[kColumns + n] = exists ? rows.scales[n * (K / kBlock) + b] : 0.f;
        }
}

size_t row_size(int64_t K) { return ((size_t)K + (size_t)(K / kBlock) * 4 + 63) / 64 * 64 + 64; }

void convert(const float* x, int64_t K, uint8_t* row) {
    float* scales = (float*)(row + K);
    for (int64_t b = 0; b < K / kBlock; b++) {
        __m256i bytes;
        scales[b] = ymm::quantise(x + b * kBlock, &bytes);
        _mm256_storeu_si256((__m256i*)(row + b * kBlock), _mm256_xor_si256(bytes, _mm256_set1_epi8((char)0x80)));
    }
}

struct Tile {
    static constexpr int kRows = 3;

    template <int R>
    static inline void run(const uint8_t* x, size_t stride, const uint8_t* w, int64_t K, float* c, size_t c_stride) {
        if constexpr (R <= kRows) {
            __m256 sum[R][2];
            for (int i = 0; i < R; i++) sum[i][0] = sum[i][1] = _mm256_setzero_ps();
            const uint8_t* scales = x + K;
            for (int64_t b = 0; b < K / kBlock; b++, w += kSize, x += kBlock, scales += 4) {
                const __m256i *corrections = (const __m256i*)(w + kValues), c0 = _mm256_loadu_si256(corrections), c1 = _mm256_loadu_si256(corrections + 1);
                __m256i t[R][2];
                for (int i = 0; i < R; i++) t[i][0] = c0, t[i][1] = c1;
#pragma GCC unroll 8
                for (int k = 0; k < kBlock / 4; k++) {
                    const __m256i w0 = _mm256_loadu_si256((const __m256i*)(w + 64 * k)), w1 = _mm256_loadu_si256((const __m256i*)(w + 64 * k + 32));
#pragma GCC unroll 3
                    for (int i = 0; i < R; i++) {
                        int quad;
                        __builtin_memcpy(&quad, x + i * stride + 4 * k, sizeof quad);
                        const __m256i v = _mm256_set1_epi32(quad);
                        t[i][0] = _mm256_dpbusd_avx_epi32(t[i][0], v, w0);
                        t[i][1] = _mm256_dpbusd_avx_epi32(t[i][1], v, w1);
                    }
                }
                const float* s = (const float*)(w + kValues) + kColumns;
                const __m256 s0 = _mm256_loadu_ps(s), s1 = _mm256_loadu_ps(s + 8);
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

extern const Family kFamilyInt8Vnni256;
const Family kFamilyInt8Vnni256{"int8-vnni256", Form::kInt8, kColumns, runs_on, panel_size, pack, row_size, convert, ymm::panel<Tile>};

}  // namespace jlocal
