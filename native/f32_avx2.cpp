// Products of weights in bfloat16 with float32, by AVX2 and FMA; x is not rounded.
//
//   panel of weights:  [K][16] bfloat16     a row of x:  [K] float32
//
// A bfloat16 is the upper half of a float32, so that a shift widens it. 6 x 2 registers of sums, 2 of
// weights and one of x fit the 16 registers.
#include "avx2.h"

namespace jlocal {
namespace {

using ymm::kColumns;

bool runs_on(const Cpu& cpu) { return cpu.avx2; }
size_t panel_size(int64_t K) { return (size_t)K * kColumns * 2; }

void pack(const Rows& rows, int64_t K, uint8_t* panel) {
    uint16_t* to = (uint16_t*)panel;
    for (int n = 0; n < kColumns; n++)
        for (int64_t k = 0; k < K; k++) to[k * kColumns + n] = n < rows.count ? rows.bf16[n * rows.stride + k] : 0;
}

size_t row_size(int64_t K) { return ((size_t)K * 4 + 63) / 64 * 64 + 64; }
void convert(const float* x, int64_t K, uint8_t* row) { __builtin_memcpy(row, x, (size_t)K * 4); }

inline __m256 widen(const uint16_t* w) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i*)w)), 16));
}

struct Tile {
    static constexpr int kRows = 6;

    template <int R>
    static inline void run(const uint8_t* x, size_t stride, const uint8_t* panel, int64_t K, float* c, size_t c_stride) {
        __m256 sum[R][2];
#pragma GCC unroll 6
        for (int i = 0; i < R; i++) sum[i][0] = sum[i][1] = _mm256_setzero_ps();
        const uint16_t* w = (const uint16_t*)panel;
        for (int64_t k = 0; k < K; k++, w += kColumns, x += 4) {
            const __m256 w0 = widen(w), w1 = widen(w + 8);
#pragma GCC unroll 6
            for (int i = 0; i < R; i++) {
                const __m256 v = _mm256_broadcast_ss((const float*)(x + i * stride));
                sum[i][0] = _mm256_fmadd_ps(w0, v, sum[i][0]);
                sum[i][1] = _mm256_fmadd_ps(w1, v, sum[i][1]);
            }
        }
#pragma GCC unroll 6
        for (int i = 0; i < R; i++) {
            _mm256_storeu_ps(c + i * c_stride, sum[i][0]);
            _mm256_storeu_ps(c + i * c_stride + 8, sum[i][1]);
        }
    }
};

}  // namespace

extern const Family kFamilyF32Avx2;
const Family kFamilyF32Avx2{"f32-avx2", Form::kBf16, kColumns, runs_on, panel_size, pack, row_size, convert, ymm::panel<Tile>};

}  // namespace jlocal
