// A handle for reading a store that this process writes, as if it were in another process: for tests in which both
// sides are threads, or take turns. Thread safety: as of a Handle; its files may be told to fail at any time.
#pragma once

#include "pyrsistence/store.hpp"
#include "storage/store.hpp"
#include "support.hpp"

namespace pyrsistence::test {

class Elsewhere : public Store {
public:
    explicit Elsewhere(const fs::path& path) : Store(path, {.mode = Mode::read}) {
        storage::StoreOptions options;
        options.mode = Mode::read;
        options.files = &files;
        files.foreign = true;
        storage::Store::release(store_);
        store_ = storage::Store::open(path, options);
    }
    ~Elsewhere() override { close(); }

    TestFileSystem files;
};

}  // namespace pyrsistence::test
