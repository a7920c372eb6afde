// Attention with AMX. A tile of queries fills the 32 rows of a product, and all rows are computed,
// even if some of them hold no query.
#include "amx_tile.h"
#include "attention_bf16.h"

namespace jlocal {
namespace {

static_assert(kTile == amx::kRows && kSubBlock == kColumns);

bool runs_on(const Cpu& cpu) { return cpu.amx_bf16; }

struct Products {
    static void begin() { amx::configure(kTile); }
    static void end() { amx::release(); }
    static void multiply(const uint16_t* q, size_t q_row, int, const uint16_t* keys, int64_t D, float* scores, size_t score_row) {
        Later none;
        amx::NextRows nothing;
        amx::panel_of<false, false>(kTile, (const uint8_t*)q, 2 * q_row, (const uint8_t*)keys, D, {}, {scores, score_row}, none, nothing);
    }
    static void add(const uint16_t* weights, size_t weight_row, int rows, const uint16_t* values, int64_t keys, float* o, size_t o_row, const float* keep) {
        for (int r = 0; r < rows; r++) {
            if (keep[r] == 1.f) continue;
            for (int d = 0; d < kColumns; d += 16) {
                float* x = o + r * o_row + d;
                _mm512_storeu_ps(x, _mm512_mul_ps(_mm512_loadu_ps(x), _mm512_set1_ps(keep[r])));
            }
        }
        Later none;
        amx::NextRows nothing;
        amx::panel_of<false, true>(kTile, (const uint8_t*)weights, 2 * weight_row, (const uint8_t*)values, keys, {o, o_row}, {o, o_row}, none, nothing);
    }
};

}  // namespace

extern const AttentionKernels kAttentionAmx;
const AttentionKernels kAttentionAmx = kernels_with<Products>("amx", runs_on);

}  // namespace jlocal
