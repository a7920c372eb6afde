// Memory that grows, for values that live for one operation.
#pragma once
#include <cstdint>
#include <cstdlib>

#include "large_pages.h"

namespace jlocal {

class Scratch {
public:
    Scratch() = default;
    ~Scratch() { std::free(memory_); }
    Scratch(const Scratch&) = delete;
    Scratch& operator=(const Scratch&) = delete;

    // At least `size` bytes on a boundary of 4,096, or nullptr. What they held is lost if they moved.
    uint8_t* take(size_t size) {
        if (size > size_) {
            const size_t rounded = (size + kPage - 1) / kPage * kPage;
            std::free(memory_);
            memory_ = rounded < size ? nullptr : static_cast<uint8_t*>(rounded < kLargePage ? std::aligned_alloc(kPage, rounded) : allocate_large(rounded));
            size_ = memory_ ? rounded : 0;
        }
        return memory_;
    }
    size_t size() const { return size_; }

private:
    static constexpr size_t kPage = 4096;
    uint8_t* memory_ = nullptr;
    size_t size_ = 0;
};

}  // namespace jlocal
