// Attention on the threads of a context; see attention.h.
#pragma once
#include "attention.h"
#include "scratch.h"
#include "threads.h"

namespace jlocal {

// What a mask leaves visible, kept from one layer to the next of a graph: all have the same mask.
class Visibility {
public:
    // Forget it, before another graph.
    void clear() { made_ = false; }
    // Flags of [tile][sub-block]; nullptr if there is no memory.
    const uint8_t* of(const AttentionKernels& kernels, const Attention& attention, Threads& threads);

private:
    bool made_ = false;
    const uint8_t* mask_ = nullptr;
    int64_t queries_ = 0, keys_ = 0;
    Scratch scratch_;
};

// Returns false if there is no memory.
bool attend(const AttentionKernels& kernels, const Attention& attention, Visibility& visibility, Scratch& scratch, Threads& threads);

}  // namespace jlocal
