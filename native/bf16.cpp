// Products in bfloat16 with AVX512-BF16; the layout is drawn in bf16_tile.h.
#include "bf16_tile.h"

namespace jlocal {
namespace {

using tile::kColumns;

bool runs_on(const Cpu& cpu) { return cpu.avx512_bf16; }
size_t panel_size(int64_t K) { return (size_t)K * kColumns * 2; }

void pack(const Rows& rows, int64_t K, uint8_t* panel) {
    for (int64_t k = 0; k < K; k += 32)
        for (int n = 0; n < kColumns; n += 16) {
            __m512i r[16];  // 16 pairs of 16 columns
            for (int i = 0; i < 16; i++)
                r[i] = n + i < rows.count ? _mm512_loadu_si512(rows.bf16 + (n + i) * rows.stride + k) : _mm512_setzero_si512();
            tile::transpose(r);
            for (int i = 0; i < 16; i++) _mm512_storeu_si512(panel + ((k / 2 + i) * kColumns + n) * 4, r[i]);
        }
}

// 64 bytes more than the values: rows whose addresses differ by a multiple of 4,096 would compete
// for the same lines of the first-level cache.
size_t row_size(int64_t K) { return ((size_t)K * 2 + 63) / 64 * 64 + 64; }

void convert(const float* x, int64_t K, uint8_t* row) {
    for (int64_t k = 0; k < K; k += 32)
        _mm512_storeu_si512(row + 2 * k, (__m512i)_mm512_cvtne2ps_pbh(_mm512_loadu_ps(x + k + 16), _mm512_loadu_ps(x + k)));
}

void multiply(const uint8_t* x, size_t stride, int64_t rows, const uint8_t* panel, int64_t K, float* out,
              size_t out_stride, int columns) {
    const uint16_t *values = (const uint16_t*)x, *weights = (const uint16_t*)panel;
    if (columns == kColumns) return tile::panel<false>(values, stride / 2, rows, weights, K, out, out_stride);
    float whole[tile::kRows * kColumns];  // the columns that exist are copied from here
    for (int64_t m = 0; m < rows; m += tile::kRows) {
        const int64_t here = rows - m < tile::kRows ? rows - m : tile::kRows;
        tile::panel<false>(values + m * (stride / 2), stride / 2, here, weights, K, whole, kColumns);
        for (int64_t i = 0; i < here; i++)
            __builtin_memcpy(out + (m + i) * out_stride, whole + i * kColumns, columns * sizeof(float));
    }
}

}  // namespace

extern const Family kFamilyBf16;
const Family kFamilyBf16{"bf16", Form::kBf16, kColumns, runs_on, panel_size, pack, row_size, convert, multiply};

}  // namespace jlocal
