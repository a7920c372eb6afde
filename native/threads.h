// The threads of a context, which share pieces of work.
//
// There is no barrier at which threads wait for a thread that is not running: the caller begins at
// once, other threads join when they wake up, and the caller waits only for those that have joined.
// So when other programs use some of the cores, only the time of these cores is lost.
//
// Waking a thread takes about as long as a small product. So while a graph is computed, idle threads
// look for the next job without sleeping; they let any other thread have their core that wants it.
#pragma once
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

namespace jlocal {

class Threads {
public:
    Threads() = default;
    ~Threads();
    Threads(const Threads&) = delete;
    Threads& operator=(const Threads&) = delete;

    // How many threads work, the caller's included; at least 1.
    int count() const { return count_; }
    void set_count(int count);

    // Whether the threads belong to this process. A forked process has a copy of this object but not
    // its threads, and may neither use nor destroy it.
    bool are_here() const;

    // Call work(piece, thread) for each piece below `pieces`, with 0 <= thread < count(); return when
    // all is done. One caller at a time.
    template <class Work>
    void run(int64_t pieces, const Work& work) {
        run_job({[](const void* w, int64_t piece, int thread) { (*static_cast<const Work*>(w))(piece, thread); }, &work, pieces});
    }

    // Keeps the threads awake between jobs that follow each other closely, for as long as it lives.
    class Awake {
    public:
        explicit Awake(Threads& threads) : threads_(threads) { threads_.awake_.store(true); }
        ~Awake() { threads_.awake_.store(false); }
        Awake(const Awake&) = delete;
        Awake& operator=(const Awake&) = delete;

    private:
        Threads& threads_;
    };

private:
    struct Job {
        void (*call)(const void* work, int64_t piece, int thread) = nullptr;
        const void* work = nullptr;
        int64_t pieces = 0;
    };

    void run_job(const Job& job);
    void take_pieces(int thread);
    void start();
    void stop();
    void live(int thread);

    int count_ = 1;
    std::vector<std::thread> threads_;
    int process_ = 0;  // that started them
    Job job_;
    std::atomic<int64_t> next_{0};
    // How many threads have joined the job; far below zero while there is none.
    std::atomic<int32_t> joined_{kClosed};
    // Number of jobs so far.
    std::atomic<uint32_t> jobs_{0};
    std::atomic<int32_t> sleeping_{0};
    std::atomic<bool> awake_{false};
    std::mutex mutex_;
    std::condition_variable wake_;
    bool stopping_ = false;

    static constexpr int32_t kClosed = -(1 << 20);
};

// CPUs that this process may run on.
int usable_cpus();

}  // namespace jlocal
