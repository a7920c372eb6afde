#include "product.h"

#include <algorithm>

namespace jlocal {
namespace {

// Below so many multiplications, waking another thread takes longer than it saves.
constexpr int64_t kWorthSharing = 2'000'000;
constexpr int64_t kWorthSharingConversion = 64 * 1024;
constexpr int64_t kRowsOfPiece = 256;

}  // namespace

size_t packed_size(const Family& family, int64_t N, int64_t K) {
    return (size_t)((N + family.columns - 1) / family.columns) * family.panel_size(K);
}

bool multiply(const Packed& w, const Input& x, bool again, float* out, Scratch& scratch, Threads& threads) {
    const Family& family = *w.family;
    const size_t stride = family.row_size(w.K), panel_size = family.panel_size(w.K);
    if (x.M == 0) return true;
    again &= scratch.size() >= stride * x.M;
    uint8_t* rows = scratch.take(stride * x.M);
    if (!rows) return false;

    const auto convert = [&](int64_t first, int64_t last) {
        for (int64_t m = first; m < last; m++) family.convert(x.rows + m * w.K, w.K, rows + m * stride);
    };
    if (!again) {
        const int64_t some = x.M * w.K < kWorthSharingConversion ? x.M : (x.M + 4 * threads.count() - 1) / (4 * threads.count());
        threads.run((x.M + some - 1) / some, [&](int64_t piece, int) { convert(piece * some, std::min(x.M, (piece + 1) * some)); });
    }

    // A piece is a panel times all rows, or a part of them where there are few panels for the threads.
    const int64_t panels = (w.N + family.columns - 1) / family.columns;
    const bool enough = x.M <= kRowsOfPiece || panels >= 8 * threads.count();
    const int64_t height = enough ? x.M : kRowsOfPiece, parts = (x.M + height - 1) / height;
    const auto piece = [&](int64_t number, int) {
        const int64_t panel = number / parts, first = number % parts * height, column = panel * family.columns;
        family.multiply(rows + first * stride, stride, std::min(height, x.M - first), w.panels + panel * panel_size, w.K,
                        out + first * w.N + column, w.N, (int)std::min<int64_t>(family.columns, w.N - column));
    };
    if (x.M * w.N * w.K < kWorthSharing) {
        for (int64_t number = 0; number < panels * parts; number++) piece(number, 0);
    } else {
        threads.run(panels * parts, piece);
    }
    return true;
}

}  // namespace jlocal
