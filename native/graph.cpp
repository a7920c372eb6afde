#include "graph.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <iterator>

#include "capture.h"
#include "large_pages.h"
#include "product.h"
#include "weights.h"

namespace jlocal {

using namespace ggml;

namespace {

bool is_row_major(const Tensor* t, Type type, size_t size) { return t->type == type && t->nb[0] == size && t->ne[3] == 1; }

// The rows of x that lie converted for a family, and where.
struct Converted {
    const Tensor* x = nullptr;
    const Family* family = nullptr;
    Scratch* in = nullptr;
};

Packed packed(const Tensor* w) { return {family_of(w->buffer->type, w), static_cast<const uint8_t*>(w->data), w->ne[1], w->ne[0]}; }
int64_t row_count(const Tensor* x) { return x->ne[1] * x->ne[2] * x->ne[3]; }

bool is_product(const Tensor* op) { return op->op == kMulMat && !is_head(op); }

bool reads(const Tensor* op, const Tensor* t) {
    return std::any_of(std::begin(op->src), std::end(op->src), [t](const Tensor* s) { return s && (s == t || s->view_src == t); });
}

// Whether no operation after ops[i] reads a tensor.
bool is_done_after(const Tensor* t, const std::vector<Tensor*>& ops, size_t i) {
    return !(t->flags & kOutput) && std::none_of(ops.begin() + (ptrdiff_t)i + 1, ops.end(), [t](const Tensor* op) { return reads(op, t); });
}

// `next` is the product after it, or nullptr.
bool compute_product(State& state, const Tensor* op, const Tensor* next, Converted& converted) {
    const Tensor* x = op->src[1];
    const Packed w = packed(op->src[0]);
    // The query, key and value products have the same rows.
    const bool again = converted.x == x && converted.family == w.family;
    if (!again) converted = {x, w.family, &state.scratch};
    const Packed following = next ? packed(next->src[0]) : Packed{};
    return multiply(w, {static_cast<const float*>(x->data), row_count(x)}, again, next ? &following : nullptr,
                    static_cast<float*>(op->data), *converted.in, state.threads);
}

// The two products of a feed-forward, their gate, and the product with what it lets through, which follow
// each other in llama.cpp's graphs.
struct FeedForward {
    const Tensor *gate, *up, *down;
};

// Whether ops[i] begins one, and no other operation reads its results before the last.
bool feeds_forward(const std::vector<Tensor*>& ops, size_t i, FeedForward& found) {
    if (i + 3 >= ops.size()) return false;
    const Tensor *first = ops[i], *second = ops[i + 1], *glu = ops[i + 2], *down = ops[i + 3];
    if (first->op != kMulMat || second->op != kMulMat || glu->op != kGlu || !is_product(down)) return false;
    const bool in_order = glu->src[0] == first && glu->src[1] == second, turned = glu->src[0] == second && glu->src[1] == first;
    if (!(in_order || turned) || first->src[1] != second->src[1] || down->src[1] != glu) return false;
    found = {in_order ? first : second, in_order ? second : first, down};
    if (!can_gate(packed(found.gate->src[0]), packed(found.up->src[0]), packed(down->src[0]))) return false;
    return is_done_after(first, ops, i + 2) && is_done_after(second, ops, i + 2) && is_done_after(glu, ops, i + 3);
}

// `next` is the product after it, or nullptr.
bool compute_feed_forward(State& state, const FeedForward& f, const Tensor* next, Converted& converted) {
    const Tensor* x = f.gate->src[1];
    const Packed gate = packed(f.gate->src[0]), up = packed(f.up->src[0]), down = packed(f.down->src[0]);
    const bool again = converted.x == x && converted.family == gate.family && converted.in == &state.scratch;
    converted = {};
    const Input rows{static_cast<const float*>(x->data), row_count(x)}, none{nullptr, rows.M};
    const Packed following = next ? packed(next->src[0]) : Packed{};
    return multiply_gated(gate, up, rows, again, down, state.scratch, state.made, state.threads) &&
           multiply(down, none, true, next ? &following : nullptr, static_cast<float*>(f.down->data), state.made, state.threads);
}

// `next` is the operation after the run, or nullptr.
bool compute_tokenwise(State& state, Tensor* const* run, int length, const Tensor* next, Converted& converted) {
    const Tensor* made = run[length - 1];
    if (!next || !is_product(next) || next->src[1] != made)
        return compute_run(run, length, nullptr, state.rotations, state.threads);
    const Packed w = packed(next->src[0]);
    const Conversion conversion{w.family, rows_for(w, row_count(made), state.scratch, state.threads)};
    converted = {made, w.family, &state.scratch};
    return conversion.rows && compute_run(run, length, &conversion, state.rotations, state.threads);
}

// `next` is the product that alone reads the result, or nullptr.
bool compute_attention(State& state, const Tensor* op, const Tensor* next, Converted& converted) {
    const Tensor *q = op->src[0], *k = op->src[1], *v = op->src[2], *mask = op->src[3];
    const auto rows = [](const Tensor* t) { return Attention::Rows{static_cast<const uint8_t*>(t->data), t->nb[1], t->nb[2]}; };
    Attention a{rows(q), rows(k), rows(v), mask ? static_cast<const uint8_t*>(mask->data) : nullptr, mask ? mask->nb[1] : 0,
                static_cast<float*>(op->data), q->ne[0], v->ne[0], q->ne[1], k->ne[1], q->ne[2], k->ne[2], 0};
    std::memcpy(&a.scale, op->op_params, sizeof a.scale);
    converted = {};
    if (next && attention_kernels()->writes_bf16 && packed(next->src[0]).family->rows_in_bf16) {
        const Packed w = packed(next->src[0]);
        a.bf16 = rows_for(w, row_count(next->src[1]), state.made, state.threads);
        a.bf16_row = w.family->row_size(w.K);
        if (!a.bf16) return false;
        converted = {next->src[1], w.family, &state.made};
    }
    return attend(*attention_kernels(), a, state.visibility, state.scratch, state.threads);
}

// The buffers of activations and of keys and values are llama.cpp's; it makes them once for a context,
// and again when it grows.
void use_large_pages(State& state, const Tensor* t) {
    Buffer* buffer = t->view_src ? t->view_src->buffer : t->buffer;
    if (!buffer || !api.ggml_backend_buft_is_host(buffer->type)) return;
    void* base = buffer->functions.get_base(buffer);
    if (std::find(state.large.begin(), state.large.end(), base) != state.large.end()) return;
    state.large.push_back(base);
    move_to_large(base, buffer->size);
}

const Tensor* product_after(const std::vector<Tensor*>& ops, size_t i) {
    const auto found = std::find_if(ops.begin() + (ptrdiff_t)i + 1, ops.end(), is_product);
    return found == ops.end() ? nullptr : *found;
}

// The product after attention ops[i] that alone reads its result, a row for each query; or nullptr.
const Tensor* sole_product(const std::vector<Tensor*>& ops, size_t i) {
    const Tensor *op = ops[i], *next = i + 1 < ops.size() ? ops[i + 1] : nullptr;
    if (!next || !is_product(next)) return nullptr;
    const Tensor* x = next->src[1];
    const bool whole = (x == op || x->view_src == op) && x->data == op->data && x->ne[0] == op->ne[0] * op->ne[1] && row_count(x) == op->ne[2];
    return whole && is_done_after(op, ops, i + 1) ? next : nullptr;
}

}  // namespace

bool multiplies(const Tensor* op) {
    const Tensor *w = op->src[0], *x = op->src[1];
    if (!w || !x || !w->buffer || !family_of(w->buffer->type, w)) return false;
    return !w->view_src && packs(w) && x->type == kF32 && op->type == kF32 && x->ne[0] == w->ne[0] &&
           api.ggml_is_contiguous(x) && api.ggml_is_contiguous(op);
}

bool is_head(const Tensor* op) {
    return op->op == kMulMat && op->src[1] && !std::strcmp(op->src[1]->name, kHiddenStates) && !multiplies(op);
}

bool attends(const Tensor* op) {
    const Tensor *q = op->src[0], *k = op->src[1], *v = op->src[2], *mask = op->src[3];
    if (!q || !k || !v || op->src[4]) return false;
    float scale, bias, cap;
    std::memcpy(&scale, &op->op_params[0], sizeof scale);
    std::memcpy(&bias, &op->op_params[1], sizeof bias);
    std::memcpy(&cap, &op->op_params[2], sizeof cap);
    const int64_t D = q->ne[0], DV = v->ne[0];
    return is_row_major(q, kF32, 4) && is_row_major(k, kF16, 2) && is_row_major(v, kF16, 2) && op->type == kF32 &&
           api.ggml_is_contiguous(op) && k->ne[0] == D && D % 16 == 0 && D <= 512 && DV % 16 == 0 && DV <= 512 &&
           v->ne[1] == k->ne[1] && v->ne[2] == k->ne[2] && k->ne[2] > 0 && q->ne[2] % k->ne[2] == 0 &&
           op->ne[0] == DV && op->ne[1] == q->ne[2] && op->ne[2] == q->ne[1] && op->ne[3] == 1 &&
           (!mask || (is_row_major(mask, kF16, 2) && mask->ne[2] == 1 && mask->ne[0] >= k->ne[1] && mask->ne[1] >= q->ne[1])) &&
           scale > 0 && std::isfinite(scale) && bias == 0 && cap == 0;
}

Status compute(State& state, Graph* graph) {
    const std::vector<Tensor*> ops = operations(graph);
    const Threads::Awake awake(state.threads);
    state.rotations.clear();
    state.visibility.clear();
    Converted converted;
    for (size_t i = 0; i < ops.size(); i++) {
        const Tensor* op = ops[i];
        if (is_head(op)) return kFailed;  // a capture ends before it
        FeedForward feed_forward;
        if (feeds_forward(ops, i, feed_forward)) {
            use_large_pages(state, feed_forward.down);
            i += 3;
            if (!compute_feed_forward(state, feed_forward, product_after(ops, i), converted)) return kAllocationFailed;
        } else if (op->op == kMulMat) {
            use_large_pages(state, op);
            if (!compute_product(state, op, product_after(ops, i), converted)) return kAllocationFailed;
        } else if (op->op == kFlashAttention) {
            use_large_pages(state, op->src[1]);
            use_large_pages(state, op->src[2]);
            if (!compute_attention(state, op, sole_product(ops, i), converted)) return kAllocationFailed;
        } else {
            const int length = run_length(&ops[i], (int)(ops.size() - i));
            const size_t next = i + (size_t)length;
            if (!compute_tokenwise(state, &ops[i], length, next < ops.size() ? ops[next] : nullptr, converted)) return kFailed;
            i = next - 1;
        }
    }
    return kSuccess;
}

}  // namespace jlocal
