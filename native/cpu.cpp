#include "cpu.h"

#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace jlocal {
namespace {

struct Leaf {
    unsigned a = 0, b = 0, c = 0, d = 0;
    Leaf(unsigned leaf, unsigned sub) { __get_cpuid_count(leaf, sub, &a, &b, &c, &d); }
};

bool bit(unsigned word, int number) { return word >> number & 1; }

// The registers whose contents the operating system keeps for each thread.
unsigned kept_registers() {
    unsigned low, high;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

// Linux saves tiles, 8 KiB for each thread, only for processes that request it.
bool request_tiles() {
    constexpr long kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
    return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

Cpu detect() {
    Cpu found;
    const Leaf one(1, 0);
    if (!bit(one.c, 27)) return found;  // no xgetbv
    const unsigned kept = kept_registers();
    const bool ymm = (kept & 0x6) == 0x6, zmm = (kept & 0xe6) == 0xe6;
    const Leaf seven(7, 0), more(7, 1);
    found.avx2 = ymm && bit(seven.b, 5) && bit(one.c, 12) && bit(one.c, 29);
    found.avx_vnni = found.avx2 && bit(more.a, 4);
    found.avx512 = zmm && found.avx2 && bit(seven.b, 16) && bit(seven.b, 17) && bit(seven.b, 30) && bit(seven.b, 31);
    found.avx512_vnni = found.avx512 && bit(seven.c, 11);
    found.avx512_bf16 = found.avx512 && bit(more.a, 5);
    const bool tiles = (kept & 0x60000) == 0x60000 && bit(seven.d, 24) && bit(seven.d, 22);
    found.amx_bf16 = found.avx512_bf16 && tiles && request_tiles();
    return found;
}

}  // namespace

const Cpu& cpu() {
    static const Cpu found = detect();
    return found;
}

}  // namespace jlocal
