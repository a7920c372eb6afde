// Products in bfloat16 with AMX, on the panels of bf16.cpp; the tiles are drawn in amx_tile.h.
#include "amx_tile.h"
#include "bf16_rows.h"

namespace jlocal {
namespace {

bool runs_on(const Cpu& cpu) { return cpu.amx_bf16; }

void amx_pack(const Rows& rows, int64_t K, uint8_t* panel) {
    for (int64_t k = 0; k < K; k += 32)
        for (int n = 0; n < kColumns; n += 16, panel += 1024) {
            __m512i r[16];  // 16 pairs of 16 columns
            for (int i = 0; i < 16; i++)
                r[i] = n + i < rows.count ? _mm512_loadu_si512(rows.bf16 + (n + i) * rows.stride + k) : _mm512_setzero_si512();
            tile::transpose(r);
            for (int i = 0; i < 16; i++) _mm512_storeu_si512(panel + 64 * i, r[i]);
        }
}

void multiply(const uint8_t* x, size_t stride, int64_t rows, const uint8_t* panel, int64_t K, float* out,
              size_t out_stride, int columns, uint8_t*) {
    amx::multiply(x, stride, rows, K, out, out_stride, columns,
                  [&](int number, int64_t k, int64_t, bool) { return panel + number * panel_size(K) + k * kColumns * 2; });
}

}  // namespace

extern const Family kFamilyBf16Amx, kFamilyQ8Amx;
const Family kFamilyBf16Amx{"bf16-amx", Form::kBf16, amx::kColumns, runs_on, panel_size, amx_pack, row_size, convert, multiply, amx::panels_together, nullptr, &kFamilyQ8Amx};

}  // namespace jlocal
