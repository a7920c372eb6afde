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
// So many pieces for each thread, if there are enough panels, that threads end at about the same time;
// fewer for a family that takes panels together, since each of its pieces converts or fetches them anew.
constexpr int64_t kPiecesOfThread = 8, kGroupsOfThread = 2;
constexpr int64_t kRowsTogether = 32;  // of AMX

size_t size_of_rows(const Packed& w, int64_t M) { return w.family->row_size(w.K) * (size_t)M; }
size_t size_of_scratch(const Family& family, int64_t K) { return family.scratch_size ? family.scratch_size(K) : 0; }

int64_t panel_count(const Packed& w) { return (w.N + w.family->columns - 1) / w.family->columns; }

Later panels_from(const Packed& w, int64_t first, int64_t count) {
    const size_t size = w.family->panel_size(w.K);
    const int64_t last = std::min(panel_count(w), first + count);
    return first < last ? Later{w.panels + first * size, w.panels + last * size} : Later{};
}

}  // namespace

size_t packed_size(const Family& family, int64_t N, int64_t K) {
    return (size_t)((N + family.columns - 1) / family.columns) * family.panel_size(K);
}

uint8_t* rows_for(const Packed& w, int64_t M, Scratch& scratch, const Threads& threads) {
    return scratch.take(size_of_rows(w, M) + size_of_scratch(*w.family, w.K) * threads.count());
}

bool multiply(const Packed& w, const Input& x, bool converted, const Packed* next, float* out, Scratch& scratch, Threads& threads) {
    const Family& family = *w.family;
    if (x.M == 0) return true;
    const size_t stride = family.row_size(w.K), panel_size = family.panel_size(w.K);
    const size_t own = size_of_rows(w, x.M), scratch_size = size_of_scratch(family, w.K);
    uint8_t* rows = rows_for(w, x.M, scratch, threads);
    if (!rows) return false;

    const auto convert = [&](int64_t first, int64_t last) {
        for (int64_t m = first; m < last; m++) family.convert(x.rows + m * w.K, w.K, rows + m * stride);
    };
    if (!converted) {
        const int64_t some = x.M * w.K < kWorthSharingConversion ? x.M : (x.M + 4 * threads.count() - 1) / (4 * threads.count());
        threads.run((x.M + some - 1) / some, [&](int64_t piece, int) { convert(piece * some, std::min(x.M, (piece + 1) * some)); });
    }

    // A piece is one or several panels times some of the rows, and the panels follow one another past
    // the same rows.
    const int64_t panels = panel_count(w);
    const int64_t wanted = (family.panels_together ? kGroupsOfThread : kPiecesOfThread) * threads.count();
    int64_t together = 1, parts = (int64_t)((own + kBytesOfPiece - 1) / kBytesOfPiece);
    if (family.panels_together) {
        parts = 1;
        together = std::clamp<int64_t>(panels / wanted, 1, family.panels_together(w.K));
    }
    const int64_t groups = (panels + together - 1) / together;
    if (groups * parts < wanted) parts = std::max(parts, x.M / kLeastRows);
    const int64_t height = (x.M + parts * kRowsTogether - 1) / (parts * kRowsTogether) * kRowsTogether;
    parts = (x.M + height - 1) / height;
    // Threads take pieces in turn. While few rows pass, the weights themselves are all that is waited for.
    const auto later = [&](int64_t number) {
        number += threads.count();
        if (x.M <= kRowsTogether) return Later{};
        if (number < groups * parts) return panels_from(w, number % groups * together, together);
        return next ? panels_from(*next, (number - groups * parts) * together, together) : Later{};
    };
    const auto piece = [&](int64_t number, int thread) {
        const int64_t first = number / groups * height, panel = number % groups * together, column = panel * family.columns;
        family.multiply(rows + first * stride, stride, std::min(height, x.M - first), w.panels + panel * panel_size, w.K,
                        out + first * w.N + column, w.N, (int)std::min<int64_t>(together * family.columns, w.N - column),
                        rows + own + scratch_size * thread, later(number));
    };
    if (x.M * w.N * w.K < kWorthSharing) {
        for (int64_t number = 0; number < groups * parts; number++) piece(number, 0);
    } else {
        threads.run(groups * parts, piece);
    }
    return true;
}

}  // namespace jlocal
