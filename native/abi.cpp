// Finds ggml's functions in the loaded libraries, and checks the declarations of abi.h against them.
#include "abi.h"

#include <dlfcn.h>

#include <cstring>

namespace jlocal::ggml {

Api api;

namespace {

// Looked up by soname: the wheel of llama-cpp-python holds copies in place of symbolic links, so a
// path would load a second ggml.
void* loaded(const char* soname) { return dlopen(soname, RTLD_LAZY | RTLD_NOLOAD); }

template <class F>
bool find(F*& function, void* library, const char* name) {
    void* found = library ? dlsym(library, name) : nullptr;
    if (!found) found = dlsym(RTLD_DEFAULT, name);  // ggml inside another library, or in the program
    function = reinterpret_cast<F*>(found);
    return found != nullptr;
}

const char* find_all() {
    void* base = loaded("libggml-base.so.0");
    void* cpu = loaded("libggml-cpu.so.0");
    bool found = true;
#define FIND(library, name) found &= find(api.name, library, #name)
    FIND(base, ggml_version);
    FIND(base, ggml_tensor_overhead);
    FIND(base, ggml_init);
    FIND(base, ggml_free);
    FIND(base, ggml_new_tensor_4d);
    FIND(base, ggml_mul_mat);
    FIND(base, ggml_flash_attn_ext);
    FIND(base, ggml_set_name);
    FIND(base, ggml_nbytes);
    FIND(base, ggml_row_size);
    FIND(base, ggml_is_contiguous);
    FIND(base, ggml_get_type_traits);
    FIND(base, ggml_graph_n_nodes);
    FIND(base, ggml_graph_nodes);
    FIND(base, ggml_backend_buffer_init);
    FIND(base, ggml_backend_cpu_buffer_type);
    FIND(base, ggml_backend_buft_is_host);
    FIND(base, ggml_backend_buft_alloc_buffer);
    FIND(base, ggml_backend_buffer_free);
    FIND(cpu, ggml_backend_cpu_reg);
    FIND(base, ggml_backend_reg_dev_get);
    FIND(base, ggml_backend_dev_backend_reg);
    FIND(base, ggml_backend_dev_init);
    FIND(base, ggml_backend_free);
#undef FIND
    return found ? nullptr : "ggml is not loaded, or lacks a function";
}

bool is_shape(const Tensor* t, Type type, int64_t a, int64_t b, int64_t c, int64_t d) {
    return t->type == type && t->ne[0] == a && t->ne[1] == b && t->ne[2] == c && t->ne[3] == d && !t->data;
}

// Tensors of odd shapes, in which every field has a different value.
bool tensors_agree(Context* context) {
    Tensor* w = api.ggml_new_tensor_4d(context, kF16, 64, 3, 1, 1);
    Tensor* x = api.ggml_new_tensor_4d(context, kF32, 64, 5, 7, 11);
    api.ggml_set_name(w, "jlocal");
    if (!is_shape(w, kF16, 64, 3, 1, 1) || std::strcmp(w->name, "jlocal") || w->nb[1] != 128) return false;
    const Tensor* product = api.ggml_mul_mat(context, w, x);
    if (!is_shape(product, kF32, 3, 5, 7, 11) || product->op != kMulMat || product->src[0] != w ||
        product->src[1] != x || product->src[2] || product->nb[2] != 60)
        return false;
    Tensor* q = api.ggml_new_tensor_4d(context, kF32, 64, 5, 4, 1);
    Tensor* k = api.ggml_new_tensor_4d(context, kF16, 64, 96, 2, 1);
    Tensor* v = api.ggml_new_tensor_4d(context, kF16, 32, 96, 2, 1);
    Tensor* mask = api.ggml_new_tensor_4d(context, kF16, 96, 64, 1, 1);
    const Tensor* attention = api.ggml_flash_attn_ext(context, q, k, v, mask, 0.25f, 0, 0);
    float scale;
    std::memcpy(&scale, attention->op_params, sizeof scale);
    return is_shape(attention, kF32, 32, 4, 5, 1) && attention->op == kFlashAttention && attention->src[2] == v &&
           attention->src[3] == mask && !attention->src[4] && scale == 0.25f;
}

bool traits_agree() {
    const TypeTraits* q8 = api.ggml_get_type_traits(kQ8_0);
    const TypeTraits* bf16 = api.ggml_get_type_traits(kBF16);
    return !std::strcmp(q8->name, "q8_0") && q8->block == 32 && q8->size == 34 && q8->is_quantized && q8->to_float &&
           !std::strcmp(bf16->name, "bf16") && bf16->block == 1 && bf16->size == 2 && api.ggml_row_size(kQ8_0, 64) == 68;
}

// A buffer of the CPU backend; its fields are compared before any of its functions is called.
bool buffers_agree() {
    BufferType* type = api.ggml_backend_cpu_buffer_type();
    Buffer* buffer = api.ggml_backend_buft_alloc_buffer(type, 4096);
    if (!buffer) return false;
    const bool agree = buffer->type == type && buffer->size >= 4096 && buffer->usage == 0 && buffer->context &&
                       buffer->functions.get_base(buffer) && type->functions.is_host && type->functions.is_host(type);
    api.ggml_backend_buffer_free(buffer);
    return agree;
}

bool devices_agree() {
    Registry* registry = api.ggml_backend_cpu_reg();
    if (registry->api_version != kBackendApi) return false;
    Device* device = api.ggml_backend_reg_dev_get(registry, 0);
    if (!device || device->registry != registry || registry->functions.get_device(registry, 0) != device ||
        device->functions.get_type(device) != kCpu)
        return false;
    Backend* backend = api.ggml_backend_dev_init(device, nullptr);
    if (!backend) return false;
    const bool agree = backend->device == device && backend->context && backend->functions.graph_compute;
    api.ggml_backend_free(backend);
    return agree;
}

const char* check() {
    if (const char* reason = find_all()) return reason;
    if (std::strcmp(api.ggml_version(), kVersion)) return "the kernels were compiled for another version of ggml";
    const char* different = "the structures of the loaded ggml are not those that the kernels were compiled for";
    if (api.ggml_tensor_overhead() != kObjectSize + sizeof(Tensor)) return different;
    Context* context = api.ggml_init({16 * api.ggml_tensor_overhead(), nullptr, true});
    if (!context) return "out of memory";
    const bool agree = tensors_agree(context);
    api.ggml_free(context);
    return agree && traits_agree() && buffers_agree() && devices_agree() ? nullptr : different;
}

}  // namespace

const char* bind() {
    static const char* const reason = check();
    return reason;
}

}  // namespace jlocal::ggml
