// Products in bfloat16 with AMX, on the panels of bf16.cpp; the tiles are drawn in amx_tile.h.
#include "amx_tile.h"
#include "bf16_rows.h"

namespace jlocal {
namespace {

bool runs_on(const Cpu& cpu) { return cpu.amx_bf16; }

void multiply(const uint8_t* x, size_t stride, int64_t rows, const uint8_t* panel, int64_t K, float* out,
              size_t out_stride, int columns) {
    alignas(64) float whole[amx::kRows * amx::kColumns];  // the columns that exist are copied from here
    int64_t configured = 0;
    for (int64_t m = 0; m < rows; m += amx::kRows) {
        const int64_t here = rows - m < amx::kRows ? rows - m : amx::kRows;
        if (here != configured) amx::configure(configured = here);
        if (columns == amx::kColumns) {
            amx::panel_of<false>(here, x + m * stride, stride, panel, K, out + m * out_stride, 4 * out_stride);
            continue;
        }
        amx::panel_of<false>(here, x + m * stride, stride, panel, K, whole, 4 * amx::kColumns);
        for (int64_t i = 0; i < here; i++)
            __builtin_memcpy(out + (m + i) * out_stride, whole + i * amx::kColumns, columns * sizeof(float));
    }
    amx::release();
}

}  // namespace

extern const Family kFamilyBf16Amx;
const Family kFamilyBf16Amx{"bf16-amx", Form::kBf16, amx::kColumns, runs_on, panel_size, pack, row_size, convert, multiply};

}  // namespace jlocal
