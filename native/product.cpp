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
constexpr int64_t kPanelsGated = 2;  // at most so many of each matrix are taken together

size_t size_of_rows(const Packed& w, int64_t M) { return w.family->row_size(w.K) * (size_t)M; }
size_t size_of_scratch(const Family& family, int64_t K) { return family.scratch_size ? family.scratch_size(K) : 0; }

int64_t panel_count(const Packed& w) { return (w.N + w.family->columns - 1) / w.family->columns; }
const uint8_t* panel_at(const Packed& w, int64_t number) { return w.panels + number * w.family->panel_size(w.K); }

Later panels_from(const Packed& w, int64_t first, int64_t count) {
    const int64_t last = std::min(panel_count(w), first + count);
    return first < last ? Later{panel_at(w, first), panel_at(w, last)} : Later{};
}

void convert(const Packed& w, const Input& x, uint8_t* rows, Threads& threads) {
    const int64_t pieces = x.M * w.K < kWorthSharingConversion ? 1 : 4 * threads.count(), some = (x.M + pieces - 1) / pieces;
    threads.run((x.M + some - 1) / some, [&](int64_t piece, int) {
        for (int64_t m = piece * some; m < std::min(x.M, (piece + 1) * some); m++) w.family->convert(x.rows + m * w.K, w.K, rows + m * w.family->row_size(w.K));
    });
}

template <class Piece>
void run(int64_t pieces, int64_t multiplications, Threads& threads, const Piece& piece) {
    if (multiplications >= kWorthSharing) return threads.run(pieces, piece);
    for (int64_t number = 0; number < pieces; number++) piece(number, 0);
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
    const size_t stride = family.row_size(w.K);
    const size_t own = size_of_rows(w, x.M), scratch_size = size_of_scratch(family, w.K);
    uint8_t* rows = rows_for(w, x.M, scratch, threads);
    if (!rows) return false;
    if (!converted) convert(w, x, rows, threads);

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
    const int64_t height = (x.M + parts * kFewRows - 1) / (parts * kFewRows) * kFewRows;
    parts = (x.M + height - 1) / height;
    // Threads take pieces in turn. While few rows pass, the weights themselves are all that is waited for.
    const auto later = [&](int64_t number) {
        number += threads.count();
        if (x.M <= kFewRows) return Later{};
        if (number < groups * parts) return panels_from(w, number % groups * together, together);
        return next ? panels_from(*next, (number - groups * parts) * together, together) : Later{};
    };
    run(groups * parts, x.M * w.N * w.K, threads, [&](int64_t number, int thread) {
        const int64_t first = number / groups * height, panel = number % groups * together, column = panel * family.columns;
        Later fetched = later(number);
        family.multiply(rows + first * stride, stride, std::min(height, x.M - first), panel_at(w, panel), w.K,
                        out + first * w.N + column, w.N, (int)std::min<int64_t>(together * family.columns, w.N - column),
                        rows + own + scratch_size * thread, x.M <= kFewRows ? Pass::kOnly : Pass::kFirst, fetched);
    });
    return true;
}

bool can_gate(const Packed& gate, const Packed& up, const Packed& down) {
    return gate.family == up.family && gate.K == up.K && gate.N == up.N && gate.N == down.K && gate.K <= kDepth &&
           down.family->convert_gated;
}

bool multiply_gated(const Packed& gate, const Packed& up, const Input& x, bool converted, const Packed& down, Scratch& scratch, Scratch& result, Threads& threads) {
    const Family& family = *gate.family;
    if (x.M == 0) return true;
    const size_t stride = family.row_size(gate.K), scratch_size = size_of_scratch(family, gate.K);
    uint8_t* rows = rows_for(gate, x.M, scratch, threads);
    uint8_t* made = rows_for(down, x.M, result, threads);
    if (!rows || !made) return false;
    if (!converted) convert(gate, x, rows, threads);

    const int64_t panels = panel_count(gate);
    const int64_t most = family.panels_together ? std::clamp<int64_t>(family.panels_together(gate.K) / 2, 1, kPanelsGated) : 1;
    const int64_t together = std::clamp<int64_t>(panels / (kGroupsOfThread * threads.count()), 1, most);
    const int64_t groups = (panels + together - 1) / together;
    run(groups, 2 * x.M * gate.N * gate.K, threads, [&](int64_t number, int thread) {
        alignas(64) float products[2][kFewRows * kPanelsGated * kMaxColumns];
        const int64_t panel = number * together, first = panel * family.columns;
        const int columns = (int)std::min<int64_t>(together * family.columns, gate.N - first);
        const Packed* const matrices[2] = {&gate, &up};
        Later later[2];
        for (int i = 0; i < 2 && x.M > kFewRows; i++) later[i] = panels_from(*matrices[i], (number + threads.count()) * together, together);
        for (int64_t m = 0; m < x.M; m += kFewRows) {
            const int64_t here = std::min(kFewRows, x.M - m);
            const Pass pass = x.M <= kFewRows ? Pass::kOnly : m ? Pass::kAgain : Pass::kFirst;
            for (int i = 0; i < 2; i++)
                family.multiply(rows + m * stride, stride, here, panel_at(*matrices[i], panel), gate.K, products[i], columns, columns,
                                rows + size_of_rows(gate, x.M) + scratch_size * thread + scratch_size / 2 * i, pass, later[i]);
            for (int64_t row = 0; row < here; row++)
                down.family->convert_gated(products[0] + row * columns, products[1] + row * columns, first, columns, down.K,
                                           made + (m + row) * down.family->row_size(down.K));
        }
    });
    return true;
}

}  // namespace jlocal
