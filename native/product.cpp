#include "product.h"

#include <algorithm>

namespace jlocal {
namespace {

// Below so many multiplications, waking another thread takes longer than it saves.
constexpr int64_t kWorthSharing = 2'000'000;
constexpr int64_t kWorthSharingConversion = 64 * 1024;
// Rows of a piece, converted, stay in the second-level cache.
constexpr size_t kBytesOfPiece = 1'600'000;
constexpr int64_t kLeastRows = 64;
constexpr int64_t kRowsTogether = 32;  // of AMX

}  // namespace

size_t packed_size(const Family& family, int64_t N, int64_t K) {
    return (size_t)((N + family.columns - 1) / family.columns) * family.panel_size(K);
}

bool multiply(const Packed& w, const Input& x, bool again, float* out, Scratch& scratch, Threads& threads) {
    const Family& family = *w.family;
    const size_t stride = family.row_size(w.K), panel_size = family.panel_size(w.K);
    if (x.M == 0) return true;
    const size_t own = stride * x.M, size = own + family.scratch_size * threads.count();
    again &= scratch.size() >= size;
    uint8_t* rows = scratch.take(size);
    if (!rows) return false;

    const auto convert = [&](int64_t first, int64_t last) {
        for (int64_t m = first; m < last; m++) family.convert(x.rows + m * w.K, w.K, rows + m * stride);
    };
    if (!again) {
        const int64_t some = x.M * w.K < kWorthSharingConversion ? x.M : (x.M + 4 * threads.count() - 1) / (4 * threads.count());
        threads.run((x.M + some - 1) / some, [&](int64_t piece, int) { convert(piece * some, std::min(x.M, (piece + 1) * some)); });
    }

    // A piece is a panel times some of the rows, and the panels follow one another past the same rows.
    const int64_t panels = (w.N + family.columns - 1) / family.columns;
    int64_t parts = (int64_t)((own + kBytesOfPiece - 1) / kBytesOfPiece);
    if (panels * parts < 8 * threads.count()) parts = std::max(parts, x.M / kLeastRows);
    const int64_t height = (x.M + parts * kRowsTogether - 1) / (parts * kRowsTogether) * kRowsTogether;
    parts = (x.M + height - 1) / height;
    const auto piece = [&](int64_t number, int thread) {
        const int64_t first = number / panels * height, panel = number % panels, column = panel * family.columns;
        family.multiply(rows + first * stride, stride, std::min(height, x.M - first), w.panels + panel * panel_size, w.K,
                        out + first * w.N + column, w.N, (int)std::min<int64_t>(family.columns, w.N - column),
                        rows + own + family.scratch_size * thread);
    };
    if (x.M * w.N * w.K < kWorthSharing) {
        for (int64_t number = 0; number < panels * parts; number++) piece(number, 0);
    } else {
        threads.run(panels * parts, piece);
    }
    return true;
}

}  // namespace jlocal
