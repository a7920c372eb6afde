// Products in bfloat16 with AVX512-BF16; the layout is drawn in bf16_tile.h.
#include "bf16_rows.h"

namespace jlocal {
namespace {

bool runs_on(const Cpu& cpu) { return cpu.avx512_bf16; }

void multiply(const uint8_t* x, size_t stride, int64_t rows, const uint8_t* panel, int64_t K, float* out,
              size_t out_stride, int columns, uint8_t*, Pass, Later&) {
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
const Family kFamilyBf16{"bf16", Form::kBf16, kColumns, runs_on, panel_size, pack<false>, row_size, convert, multiply, nullptr, nullptr, convert_gated, true};

}  // namespace jlocal
