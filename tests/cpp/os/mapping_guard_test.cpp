#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <array>
#include <thread>
#include <utility>

#include "guarded_files.hpp"

namespace pyrsistence::os {
namespace {

using test::Random;

TEST_F(MappingGuardTest, ACutFileReadsAsZerosAndIsCounted) {
    const Victim cut = victim(8), other = victim(8);
    const std::uint64_t before = mapping_faults();
    EXPECT_EQ(cut.at(7), 'x');
    cut.cut(2);
    EXPECT_EQ(cut.at(5), 0);
    EXPECT_EQ(cut.mapping->faults(), 1U);
    EXPECT_EQ(mapping_faults(), before + 1);

    std::string copy(8 * kPage, '?');  // one instruction may run into several faults
    std::memcpy(copy.data(), cut.mapping->data(), copy.size());
    EXPECT_EQ(copy, std::string(2 * kPage, 'x') + std::string(6 * kPage, '\0'));
    EXPECT_EQ(cut.mapping->faults(), 6U);  // each page once
    EXPECT_EQ(mapping_faults(), before + 6);
    EXPECT_EQ(other.at(5), 'x');
    EXPECT_EQ(other.mapping->faults(), 0U);
    cut.cut(8);
    EXPECT_EQ(cut.at(5), 0) << "a page that was replaced stays so";
}

TEST_F(MappingGuardTest, UseIsGuardedToo) {
    const Victim victim = this->victim(3);
    for (std::size_t page = 0; page < 3; ++page) victim.mapping->use(page * kPage + 7);
    EXPECT_EQ(victim.mapping->faults(), 0U);
    victim.cut(1);
    victim.mapping->use(0);
    EXPECT_EQ(victim.mapping->faults(), 0U);
    victim.mapping->use(2 * kPage);
    EXPECT_EQ(victim.mapping->faults(), 2U);  // of either mapping that it reads
    EXPECT_EQ(victim.at(0), 'x');
    EXPECT_EQ(victim.at(2), 0);
}

/// By the pages that the kernel says to be mapped, which reads of data() alone do not double.
TEST_F(MappingGuardTest, UseReadsTheSamePageOnceMore) {
    const auto mapped = [] {
        std::ifstream file("/proc/self/statm");
        std::size_t all = 0, resident = 0, shared = 0;
        file >> all >> resident >> shared;
        return shared;
    };
    constexpr std::size_t kPages = 2'000;
    const Victim victim = this->victim(kPages);
    for (std::size_t page = 0; page < kPages; ++page) EXPECT_EQ(victim.at(page), 'x');
    const std::size_t before = mapped();
    for (std::size_t page = 0; page < kPages; ++page) victim.mapping->use(page * kPage);
    EXPECT_GT(mapped(), before + kPages / 2);
}

TEST_F(MappingGuardTest, WritesGoNowhereAndAreCounted) {
    const Victim cut = victim(4, Access::read_write);
    cut.cut(1);
    cut.mapping->data()[2 * kPage + 5] = std::byte{'y'};
    EXPECT_EQ(peek(cut.mapping->data() + 2 * kPage + 5), 'y');
    EXPECT_EQ(cut.at(2), 0);
    EXPECT_EQ(cut.mapping->faults(), 1U);
    EXPECT_EQ(cut.file->size(), kPage);
    cut.mapping->data()[0] = std::byte{'z'};  // a sound page still belongs to the file
    std::byte first{};
    cut.file->read({&first, 1}, 0);
    EXPECT_EQ(first, std::byte{'z'});
}

TEST_F(MappingGuardTest, AReadOnlyMappingStaysReadOnly) {
    const Victim cut = victim(1), source = victim(1);
    cut.cut(0);
    EXPECT_EQ(cut.at(0), 0);
    EXPECT_THROW(source.file->read({cut.mapping->data(), 1}, 0), StorageError);
}

TEST_F(MappingGuardTest, SystemCallsReportBadAddressesAndCountNothing) {
    const Victim cut = victim(2), target = victim(1);
    cut.cut(0);
    try {
        target.file->write(Bytes(cut.mapping->data(), kPage), 0);
        FAIL();
    } catch (const StorageError& error) {
        EXPECT_EQ(error.code(), EIO);
    }
    EXPECT_EQ(cut.mapping->faults(), 0U);
}

TEST_F(MappingGuardTest, CountsFollowAModel) {
    PYRSISTENCE_TRACE_SEED;
    Random random(1);
    struct Known {
        Victim victim;
        std::size_t sound = 16;
        std::array<bool, 16> replaced{};
        std::uint64_t faults = 0;
    };
    std::vector<Known> all;
    std::uint64_t total = mapping_faults();
    for (std::size_t step = 0; step < test::scaled(20000); ++step) {
        if (all.empty() || random.chance(3)) all.push_back({victim(16)});
        Known& one = all[random.below(all.size())];
        if (random.chance(1)) one.victim.cut(one.sound = random.below(one.sound + 1));
        const std::size_t page = random.below(16);
        const bool fault = page >= one.sound && !std::exchange(one.replaced[page], page >= one.sound);
        ASSERT_EQ(one.victim.at(page), one.replaced[page] ? 0 : 'x');
        one.faults += fault;
        total += fault;
        ASSERT_EQ(one.victim.mapping->faults(), one.faults);
        ASSERT_EQ(mapping_faults(), total);
        if (random.chance(2)) {
            std::swap(one, all.back());
            fs::remove(all.back().victim.path);
            all.pop_back();
        }
    }
}

TEST_F(MappingGuardTest, ThreadsMapAndUnmapBesideFaults) {
    const std::uint64_t before = mapping_faults();
    const std::size_t rounds = test::scaled(150);
    std::atomic<std::uint64_t> faults = 0;
    std::atomic<bool> wrong = false, stop = false;
    const Victim sound = victim(64);
    std::vector<std::thread> churn, faulting;
    for (int i = 0; i < 4; ++i) {
        churn.emplace_back([&] {
            while (!stop) {
                std::array<std::unique_ptr<Mapping>, 20> mappings;  // of one size: places are used again
                for (auto& mapping : mappings) mapping = sound.file->map(0, 64 * kPage, Access::read_only);
                for (const auto& mapping : mappings) {
                    if (peek(mapping->data()) != 'x' || mapping->faults() != 0) wrong = true;
                }
            }
        });
    }
    for (int i = 0; i < 2; ++i) {
        faulting.emplace_back([&, cut = victim(64)] {
            cut.cut(0);
            for (std::size_t round = 0; round < rounds; ++round) {
                const auto mapping = cut.file->map(0, 64 * kPage, Access::read_only);
                for (std::size_t page = 0; page < 64; ++page) {
                    if (peek(mapping->data() + page * kPage) != 0) wrong = true;
                    if (mapping->faults() != page + 1) wrong = true;
                }
                faults += mapping->faults();
            }
        });
    }
    for (std::thread& thread : faulting) thread.join();
    stop = true;
    for (std::thread& thread : churn) thread.join();
    EXPECT_FALSE(wrong);
    EXPECT_EQ(faults, 2 * rounds * 64);
    EXPECT_EQ(mapping_faults(), before + faults);
}

TEST_F(MappingGuardTest, WhoeverSeesZerosSeesTheCount) {
    for (std::size_t round = 0; round < test::scaled(200); ++round) {
        const Victim cut = victim(256);
        cut.cut(0);
        const std::uint64_t before = mapping_faults();
        std::atomic<int> late = 0, ready = 0;
        const auto read = [&] {
            ++ready;
            while (ready < 2) std::this_thread::yield();
            for (std::size_t page = 0; page < 256; ++page) {  // one replaced by the other does not fault
                if (cut.at(page) != 0 || mapping_faults() <= before + page) ++late;
                if (cut.mapping->faults() <= page) ++late;
            }
        };
        std::thread other(read);
        read();
        other.join();
        ASSERT_EQ(late, 0);
        fs::remove(cut.path);
    }
}

TEST_F(MappingGuardTest, AFaultElsewhereKills) {
    const Victim cut = victim(4);
    EXPECT_KILLED({ peek(foreign_memory(directory_)); });
    EXPECT_KILLED({ ::raise(SIGBUS); });
    EXPECT_KILLED({ ::kill(::getpid(), SIGBUS); });
}

TEST_F(MappingGuardTest, ARangeEndsWithItsLastPageAndItsMapping) {
    Victim cut = victim(4);
    cut.mapping = cut.file->map(0, 2 * kPage + 1, Access::read_only);  // three pages
    cut.cut(0);
    std::byte* const begin = cut.mapping->data();
    EXPECT_EQ(peek(begin + 3 * kPage - 1), 0);
    EXPECT_KILLED({
        std::byte* behind = foreign_memory(directory_, begin + 3 * kPage);
        if (behind == nullptr) ::raise(SIGBUS);  // something else lies there
        peek(behind);
    });
    EXPECT_KILLED({
        cut.mapping.reset();
        peek(foreign_memory(directory_, begin, 3));
    });
}

/// Guards of nothing, which fill the table.
std::vector<std::unique_ptr<MappingGuard>> guards(std::size_t count) {
    std::vector<std::unique_ptr<MappingGuard>> all(count);
    for (auto& guard : all) guard = std::make_unique<MappingGuard>(nullptr, 0, Access::read_only);
    return all;
}

TEST_F(MappingGuardTest, AFullTableLeavesAMappingUnguarded) {
    const Victim cut = victim(1);
    cut.cut(0);
    EXPECT_KILLED({
        const auto most = guards(MappingGuard::kCapacity - 1);
        peek(cut.file->map(0, kPage, Access::read_only)->data());
    });
    EXPECT_LIVES({
        auto all = guards(MappingGuard::kCapacity);
        all[1000].reset();
        const auto mapping = cut.file->map(0, kPage, Access::read_only);
        return peek(mapping->data()) == 0 && mapping->faults() == 1 && cut.at(0) == 0;
    });
}

TEST_F(MappingGuardTest, ThreadsNeverShareOrLoseAPlaceInTheTable) {
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i) {
        threads.emplace_back([] {
            for (std::size_t round = 0; round < test::scaled(200000); ++round) {
                const MappingGuard one(nullptr, 0, Access::read_only), two(nullptr, 0, Access::read_only);
            }
        });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_LIVES({
        const auto most = guards(MappingGuard::kCapacity - 1);
        const Victim cut = victim(1);
        cut.cut(0);
        return cut.at(0) == 0;
    });
}

TEST_F(MappingGuardTest, ManyFaultsReplaceTheWholeRange) {
    const auto regions = [] {  // of memory, as the kernel counts them
        std::ifstream maps("/proc/self/maps");
        return std::count(std::istreambuf_iterator<char>(maps), {}, '\n');
    };
    constexpr std::uint64_t limit = MappingGuard::kSinglePages;
    const std::size_t pages = 4 * limit;
    const Victim cut = victim(pages);
    cut.cut(pages / 2 + 1);
    const auto before = regions();
    for (std::size_t page = pages - 1; page > pages / 2; page -= 2) EXPECT_EQ(cut.at(page), 0);
    EXPECT_EQ(cut.mapping->faults(), limit);
    EXPECT_EQ(cut.at(pages / 2), 'x');
    EXPECT_GE(regions(), before + static_cast<long>(limit));
    EXPECT_EQ(cut.at(pages - 2), 0);
    EXPECT_EQ(cut.mapping->faults(), limit + 1);
    EXPECT_LE(regions(), before + 1);
    for (std::size_t page = 0; page < pages; ++page) EXPECT_EQ(cut.at(page), 0);
    EXPECT_EQ(cut.mapping->faults(), limit + 1);
}

TEST_F(MappingGuardTest, TheChildOfAForkIsGuardedOnItsOwn) {
    const Victim cut = victim(4);
    cut.cut(0);
    EXPECT_EQ(cut.at(0), 0);
    const std::uint64_t before = mapping_faults();
    EXPECT_LIVES({
        if (cut.at(1) != 0 || cut.mapping->faults() != 2 || mapping_faults() != before + 1) return false;
        const Victim own = victim(1);
        own.cut(0);
        return own.at(0) == 0 && own.mapping->faults() == 1;
    });
    EXPECT_EQ(cut.mapping->faults(), 1U);
    EXPECT_EQ(mapping_faults(), before);
}

TEST_F(MappingGuardTest, AForkBesideBusyThreadsLeavesAUsableTable) {
    const Victim sound = victim(1);
    std::byte* const foreign = foreign_memory(directory_);
    std::atomic<bool> stop = false;
    std::vector<std::thread> churn;
    for (int i = 0; i < 3; ++i) {
        churn.emplace_back([&] {
            while (!stop) MappingGuard(sound.mapping->data(), kPage, Access::read_only);
        });
    }
    for (std::size_t round = 0; round < test::scaled(200); ++round) {
        const pid_t child = ::fork();
        if (child == 0) {
            ::alarm(20);
            const MappingGuard guard(foreign, kPage, Access::read_only);
            ::_exit(peek(foreign) == 0 && guard.faults() == 1 ? 0 : 1);
        }
        int status = 0;
        ASSERT_EQ(::waitpid(child, &status, 0), child);
        ASSERT_EQ(status, 0);
    }
    stop = true;
    for (std::thread& thread : churn) thread.join();
}

/// Makes the kernel say that a page of a file in memory is damaged, as for a failed memory module. The result
/// is to be closed later; it is -1 if this system cannot: it takes Linux 6.6 and userfaultfd.
int damage(std::byte* page) {
    constexpr std::uint64_t api = 0xAA, can_poison = 1U << 14, missing = 1;
    struct { std::uint64_t api, features, ioctls; } hello{api, can_poison, 0};
    struct { std::uint64_t start, length, mode, ioctls; } range{};
    struct { std::uint64_t start, length, mode; std::int64_t updated; } poison{};
    range = {reinterpret_cast<std::uint64_t>(page), kPage, missing, 0};
    poison = {range.start, kPage, 0, 0};
    const int descriptor = static_cast<int>(::syscall(SYS_userfaultfd, O_CLOEXEC));
    if (descriptor >= 0 && ::ioctl(descriptor, _IOWR(api, 0x3F, hello), &hello) == 0 &&
        ::ioctl(descriptor, _IOWR(api, 0x00, range), &range) == 0 &&
        ::ioctl(descriptor, _IOWR(api, 0x08, poison), &poison) == 0) {
        return descriptor;
    }
    ::close(descriptor);
    return -1;
}

TEST_F(MappingGuardTest, DamagedMemoryIsAReadError) {
    const Victim one = victim(3, Access::read_write);
    const int damaged = damage(one.mapping->data() + kPage);
    if (damaged < 0) GTEST_SKIP() << "this system cannot simulate damaged memory, or not as this user";
    EXPECT_EQ(one.at(0), 'x');
    EXPECT_EQ(one.at(1), 0);
    EXPECT_EQ(one.at(2), 'x');
    EXPECT_EQ(one.mapping->faults(), 1U);
    ::close(damaged);
}

}  // namespace
}  // namespace pyrsistence::os
