#include "threads.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <system_error>

namespace jlocal {
namespace {

// How often an idle thread looks for work before it sleeps: for about 10 microseconds, and 50 while it is kept
// awake. Longer would use up its share of a core that another program wants, and it would lack that share
// when there is work.
constexpr int kSpins = 400, kSpinsAwake = 2000;

inline void pause() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

}  // namespace

Threads::~Threads() { stop(); }

void Threads::set_count(int count) {
    count = std::max(1, count);
    if (count == count_) return;
    stop();
    count_ = count;
}

bool Threads::are_here() const { return threads_.empty() || process_ == getpid(); }

void Threads::run_job(const Job& job) {
    if (count_ == 1 || job.pieces < 2) {
        for (int64_t piece = 0; piece < job.pieces; piece++) job.call(job.work, piece, 0);
        return;
    }
    if (threads_.empty()) start();
    job_ = job;
    next_.store(0, std::memory_order_relaxed);
    joined_.fetch_sub(kClosed);  // opens the job, and publishes it
    jobs_.fetch_add(1);
    if (sleeping_.load() > 0) {
        { const std::lock_guard<std::mutex> lock(mutex_); }  // a thread about to sleep now sleeps or has seen the job
        wake_.notify_all();
    }
    take_pieces(0);
    joined_.fetch_add(kClosed);
    for (int spins = 0; joined_.load() != kClosed; spins++) {
        if (spins < kSpins) {
            pause();
        } else {
            sched_yield();  // a thread that has joined may be waiting for this core
        }
    }
}

void Threads::take_pieces(int thread) {
    const int64_t pieces = job_.pieces;
    for (int64_t piece; (piece = next_.fetch_add(1, std::memory_order_relaxed)) < pieces;) job_.call(job_.work, piece, thread);
}

void Threads::start() {
    process_ = getpid();
    try {
        for (int thread = 1; thread < count_; thread++) threads_.emplace_back(&Threads::live, this, thread);
    } catch (const std::system_error&) {
        // If no more threads can be started, the existing ones do the work.
    }
}

void Threads::stop() {
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        stopping_ = true;
    }
    wake_.notify_all();
    jobs_.fetch_add(1);
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
    stopping_ = false;
}

void Threads::live(int thread) {
    uint32_t seen = 0;
    for (;;) {
        for (int spins = 0; jobs_.load() == seen; spins++) {
            if (spins >= (awake_.load(std::memory_order_relaxed) ? kSpinsAwake : kSpins)) break;
            pause();
        }
        if (jobs_.load() == seen) {
            std::unique_lock<std::mutex> lock(mutex_);
            sleeping_.fetch_add(1);
            wake_.wait(lock, [&] { return stopping_ || jobs_.load() != seen; });
            sleeping_.fetch_sub(1);
        }
        seen = jobs_.load();
        {
            const std::lock_guard<std::mutex> lock(mutex_);
            if (stopping_) return;
        }
        // The job may have been closed meanwhile; then its pieces may have been freed.
        if (joined_.fetch_add(1) >= 0) take_pieces(thread);
        joined_.fetch_sub(1);
    }
}

int usable_cpus() {
    cpu_set_t set;
    const int found = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 0;
    return found > 0 ? found : std::max(1u, std::thread::hardware_concurrency());
}

}  // namespace jlocal
