// Power failures at any call, of stores of one container of every shape. A failure names its chain; to run that
// one alone, set PYRSISTENCE_CRASH_CHAIN to its seed and filter for its test.
#include "crash/array_workload.hpp"
#include "crash/chains.hpp"

namespace pyrsistence::test {
namespace {

TEST_F(PowerFailureTest, ListOfEqualRecords) { chains<ListModel>(kEqualRecords); }
TEST_F(PowerFailureTest, ListOfFullLogs) { chains<ListModel>(kFullLogs); }
TEST_F(PowerFailureTest, ListOfMixedSizes) { chains<ListModel>(kMixed); }
TEST_F(PowerFailureTest, ListOfExtents) { chains<ListModel>(kExtents); }
TEST_F(PowerFailureTest, ListOfBatches) { chains<ListModel>(kBatches); }
TEST_F(PowerFailureTest, ListOfManyPages) { chains<ListModel>(kManyPages); }
TEST_F(PowerFailureTest, DictOfEqualRecords) { chains<DictModel>(kEqualRecords); }
TEST_F(PowerFailureTest, DictOfFullLogs) { chains<DictModel>(kFullLogs); }
TEST_F(PowerFailureTest, DictOfMixedSizes) { chains<DictModel>(kMixed); }
TEST_F(PowerFailureTest, DictOfExtents) { chains<DictModel>(kExtents); }
TEST_F(PowerFailureTest, DictOfBatches) { chains<DictModel>(kBatches); }
TEST_F(PowerFailureTest, ArrayOfMixedSizes) { chains<ArrayModel>(kMixed); }
TEST_F(PowerFailureTest, ArrayOfFullLogs) { chains<ArrayModel>(kFullLogs); }
TEST_F(PowerFailureTest, Creation) { chains<ListModel>(kCreation); }
TEST_F(PowerFailureTest, DictOfADividedIndex) { chains<DictModel>(kDivided); }
TEST_F(PowerFailureTest, DictOfManyPages) { chains<DictModel>(kManyPages); }

/// A generation is begun and has records, but its header is lost: recovery begins one with the same number,
/// place and first sequence number, and without a new salt the records of the first would follow its header.
TEST_F(PowerFailureTest, RecordsOfALostGenerationStayDead) {
    const auto is_second_header = [](const std::string& name, std::uint64_t offset) {
        return name == "log" && offset == 4096 + storage::Log::kWindowCap;
    };
    const auto all = [](const std::string&, std::uint64_t) { return true; };
    SimulatedDisk disk(directory_ / "first");
    PoweredStore<RawList> store(disk, kSmall);
    std::uint64_t items = 0;
    const auto append = [&] { store->append(as_bytes(content(items++, 1000))); };
    append();
    store.close();
    store.open();  // a small log window in place of a new store's, and nothing synced since
    for (bool begun = false; !begun;) {
        append();
        disk.power_cut_keeping([&](auto& name, auto at) { return begun |= is_second_header(name, at); });
    }
    const std::uint64_t before = items - 1;  // the last one is in the new generation
    while (items < before + 20) append();
    const DiskImage image =
        disk.power_cut_keeping([&](auto& name, auto offset) { return !is_second_header(name, offset); });
    disk.turn_off();

    SimulatedDisk second(directory_ / "second", image);
    std::vector<DiskImage> images;
    const auto take = [&] { images.push_back(second.power_cut_keeping(all)); };
    second.on_call = take;
    PoweredStore<RawList> recovered(second, kSmall);
    second.on_call = nullptr;
    take();
    ASSERT_EQ(recovered->size(), before);
    for (const DiskImage& again : images) {
        SimulatedDisk third(directory_ / "third", again);
        PoweredStore<RawList> store_again(third, kSmall);
        store_again->check();
        ASSERT_EQ(store_again->size(), before);
        third.turn_off();
    }
}

/// The old store's data must not come back beside the new one's log.
TEST_F(PowerFailureTest, EmptyingAStoreLeavesTheOldOneOrAnEmptyOne) {
    PYRSISTENCE_TRACE_SEED;
    Random random(301);
    for (std::size_t round = 0; round < scaled(20); ++round) {
        SimulatedDisk disk(directory_ / "first");
        {
            PoweredStore<RawList> store(disk, kSmall);
            for (std::uint64_t i = 0; i < 5; ++i) store->append(as_bytes(content(i, 3000)));
            store.close();
        }
        std::vector<DiskImage> images;
        disk.on_call = [&] { images.push_back(disk.power_cut(random)); };
        disk.checkpoint_thread().set_free(true);
        storage::StoreOptions options;
        options.mode = Mode::truncate;
        options.files = &disk;
        auto emptied = storage::Store::open(disk.path(), options);
        disk.on_call = nullptr;
        storage::Store::release(emptied);
        for (const DiskImage& image : images) {
            SimulatedDisk again(directory_ / "second", image);
            PoweredStore<RawList> store(again, kSmall);
            store->check();
            ASSERT_TRUE(store->size() == 5 || store->empty()) << store->size();
            again.turn_off();
        }
    }
}

}  // namespace
}  // namespace pyrsistence::test
