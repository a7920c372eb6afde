// Products in bfloat16 with AMX; the panels and tiles are drawn in amx_tile.h.
#include "amx_tile.h"

namespace jlocal {
namespace {

bool runs_on(const Cpu& cpu) { return cpu.amx_bf16; }

void multiply(const uint8_t* x, size_t stride, int64_t rows, const uint8_t* panel, int64_t K, float* out,
              size_t out_stride, int columns, uint8_t*, Pass, Later& later) {
    amx::multiply(x, stride, rows, K, out, out_stride, columns, false, later,
                  [&](int number, int64_t k, int64_t, bool) { return panel + number * panel_size(K) + k * kColumns * 2; });
}

}  // namespace

extern const Family kFamilyBf16Amx, kFamilyQ8Amx;
const Family kFamilyBf16Amx{"bf16-amx", Form::kBf16, kColumns, runs_on, panel_size, pack<true>, row_size, convert, multiply, amx::panels_together, nullptr, convert_gated, true, &kFamilyQ8Amx};

}  // namespace jlocal
