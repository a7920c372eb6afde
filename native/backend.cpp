// The backend as ggml and llama.cpp see it.
//
// llama.cpp asks the registered device of type ACCEL for a buffer type, and offers it each weight
// before any other (make_cpu_buft_list); and makes a backend of it for each context. There are more
// devices than this one: the backend of a context belongs to a device whose buffer type is the
// CPU's, so that activations lie in the same memory as the CPU's and none is copied.
//
//   device     buffer type                       products   attention, tokenwise operations
//   front      that of the configured family     -          -              registered; never computes
//   plain      the CPU's                         yes        no
//   attending  the CPU's                         yes        yes
//   capturing  the CPU's                         yes        yes            and claims the head
//
// A callback that captures hidden states ends the part of a graph that one backend computes, and not
// the graph: if the head (the product with the matrix of the vocabulary) belonged to the CPU's
// backend, it would be computed for nothing. So it is claimed, and lies behind the end.
#include "backend.h"

#include <atomic>
#include <cstring>
#include <exception>
#include <new>

#include "graph.h"
#include "weights.h"

namespace jlocal {
namespace {

using namespace ggml;

std::atomic<const Family*> configured_family{nullptr};
std::atomic<bool> configured_attention{false}, configured_capture{false};

extern Device front, plain, attending, capturing;

// --------------------------------------------------------------------------------------- backend

Status compute_graph(Backend* backend, Graph* graph) try {
    return compute(*static_cast<State*>(backend->context), graph);
} catch (const std::exception&) {
    return kFailed;
}

const char* backend_name(Backend*) { return "JLOCAL"; }
void backend_free(Backend* backend) {
    // A forked process frees its copies of contexts when it ends.
    auto* state = static_cast<State*>(backend->context);
    if (state->threads.are_here()) delete state;
    delete backend;
}
void set_threads(Backend* backend, int count) {
    Threads& threads = static_cast<State*>(backend->context)->threads;
    if (threads.are_here()) threads.set_count(count);
}

Device* configured_device() { return !configured_attention ? &plain : configured_capture ? &capturing : &attending; }

Backend* init_backend(Device*, const char*) {
    static const uint8_t guid[16] = {'j', 'l', 'o', 'c', 'a', 'l', '-', 'k', 'e', 'r', 'n', 'e', 'l', 's', 0, 1};
    BackendFunctions functions = {};
    functions.get_name = backend_name;
    functions.free = backend_free;
    functions.graph_compute = compute_graph;
    auto* state = new (std::nothrow) State;
    if (!state) return nullptr;
    auto* backend = new (std::nothrow) Backend{&guid, functions, configured_device(), state};
    if (!backend) delete state;
    return backend;
}

// --------------------------------------------------------------------------------------- devices

const char* device_name(Device*) { return "JLOCAL"; }
const char* device_description(Device*) { return "jlocal's kernels"; }
void device_memory(Device*, size_t* free, size_t* total) { *free = *total = 0; }
DeviceType device_type(Device*) { return kAccelerator; }
void device_properties(Device* device, DeviceProperties* properties) {
    *properties = {};
    properties->name = device_name(device);
    properties->description = device_description(device);
    properties->type = device_type(device);
    properties->capabilities.mmap = true;
}

BufferType* front_buffer_type(Device* device) {
    const Family* family = configured_family;
    return family ? buffer_type(*family, device) : api.ggml_backend_cpu_buffer_type();
}
BufferType* cpu_buffer_type(Device*) { return api.ggml_backend_cpu_buffer_type(); }

bool computes_all(const Device* device) { return device == &attending || device == &capturing; }

bool supports_op(Device* device, const Tensor* op) {
    switch (op->op) {
        case kNone: case kReshape: case kView: case kPermute: case kTranspose: return true;
        case kMulMat: return multiplies(op) || (device == &capturing && is_head(op));
        case kFlashAttention: return computes_all(device) && attends(op);
        default: return computes_all(device) && is_tokenwise(op);
    }
}
bool supports_buffer_type(Device*, BufferType* type) { return is_ours(type) || api.ggml_backend_buft_is_host(type); }

constexpr DeviceFunctions device_functions(BufferType* (*type)(Device*)) {
    DeviceFunctions functions = {};
    functions.get_name = device_name;
    functions.get_description = device_description;
    functions.get_memory = device_memory;
    functions.get_type = device_type;
    functions.get_properties = device_properties;
    functions.init_backend = init_backend;
    functions.get_buffer_type = type;
    functions.supports_op = supports_op;
    functions.supports_buffer_type = supports_buffer_type;
    return functions;
}

const char* registry_name(Registry*) { return "JLOCAL"; }
size_t device_count(Registry*) { return 1; }
Device* device_at(Registry*, size_t) { return &front; }
void* proc_address(Registry*, const char* name) {
    return std::strcmp(name, "ggml_backend_set_n_threads") ? nullptr : reinterpret_cast<void*>(set_threads);
}
Registry the_registry{kBackendApi, {registry_name, device_count, device_at, proc_address}, nullptr};

Device front{device_functions(front_buffer_type), &the_registry, nullptr};
Device plain{device_functions(cpu_buffer_type), &the_registry, nullptr};
Device attending{device_functions(cpu_buffer_type), &the_registry, nullptr};
Device capturing{device_functions(cpu_buffer_type), &the_registry, nullptr};

}  // namespace

void configure(const Settings& settings) {
    configured_family = settings.family;
    configured_attention = settings.attention && attention_kernels();
    configured_capture = settings.capture;
    set_packing_threads(settings.packing_threads);
}

ggml::Registry* registry() { return &the_registry; }

}  // namespace jlocal
