// As workload.hpp, for arrays: random operations, each one change, beside a model that is only digests. Not thread-safe.
#pragma once

#include "crash/workload.hpp"
#include "pyrsistence/raw_array.hpp"

namespace pyrsistence::test {

/// Opens without being told what the items are.
class RecordArray : public RawArray {
public:
    static constexpr std::size_t kItem = 100;  ///< bytes: some of each page stay free
    explicit RecordArray(const fs::path& path, Options options = {}) : RawArray(path, with_type(std::move(options))) {}

private:
    static Options with_type(Options options) {
        options.item_type = {kItem, "|V100", {}};
        return options;
    }
};

class ArrayModel {
public:
    using Raw = RecordArray;
    static constexpr const char* kName = "array";
    explicit ArrayModel(const Profile& profile) : profile_(&profile) {}

    std::uint64_t digest() const { return digest_of(std::as_bytes(std::span(items_))); }
    static std::uint64_t digest(const RecordArray& array) {
        std::vector<std::byte> all(array.size() * Raw::kItem);
        if (array.read(0, all) * Raw::kItem != all.size()) throw CorruptionError("fewer items than the array says");
        std::vector<std::uint64_t> items;
        for (std::size_t at = 0; at < all.size(); at += Raw::kItem) items.push_back(digest_of(Bytes(all).subspan(at, Raw::kItem)));
        return digest_of(std::as_bytes(std::span(items)));
    }
    bool step(RecordArray* array, Random& random) {
        const std::size_t size = items_.size(), place = random.below(size + 1);
        const std::uint64_t dice = random.below(1000);
        if (size > 2 * profile_->entries) resize(array, size / 2);
        else if (dice < 400) append(array, random, random.chance(20) ? random.below(200) : random.below(5));
        else if (dice < 700) write(array, random, place, random.chance(20) ? random.below(200) : random.below(5));
        else if (dice < 800) scatter(array, random);
        else if (dice < 900) resize(array, random.chance(10) ? place : size + random.below(300));
        else if (dice < 990) pop(array);
        else if (random.chance(20)) resize(array, 0);
        return false;
    }

private:
    std::vector<std::byte> fresh(Random& random, std::size_t count) {
        std::vector<std::byte> all;
        for (std::size_t i = 0; i < count; ++i) {
            const std::string text = content(random(), Raw::kItem);
            const Bytes item = as_bytes(text);
            all.insert(all.end(), item.begin(), item.end());
        }
        return all;
    }
    static std::uint64_t digest_at(const std::vector<std::byte>& all, std::size_t i) {
        return digest_of(Bytes(all).subspan(i * Raw::kItem, Raw::kItem));
    }

    void append(RecordArray* array, Random& random, std::size_t count) {
        const auto items = fresh(random, count);
        if (array) array->append(items);
        for (std::size_t i = 0; i < count; ++i) items_.push_back(digest_at(items, i));
    }
    void write(RecordArray* array, Random& random, std::size_t first, std::size_t count) {
        count = std::min(count, items_.size() - first);
        const auto items = fresh(random, count);
        if (array && !array->write(first, items)) throw Error("items are not there");
        for (std::size_t i = 0; i < count; ++i) items_[first + i] = digest_at(items, i);
    }
    void scatter(RecordArray* array, Random& random) {
        std::vector<std::uint64_t> indices;
        for (std::size_t at = random.below(100); at < items_.size(); at += 1 + random.below(100)) indices.push_back(at);
        const auto items = fresh(random, indices.size());
        if (array && !array->scatter(indices, items)) throw Error("items are not there");
        for (std::size_t i = 0; i < indices.size(); ++i) items_[indices[i]] = digest_at(items, i);
    }
    void resize(RecordArray* array, std::size_t size) {
        if (array) array->resize(size);
        items_.resize(size, digest_of(std::vector<std::byte>(Raw::kItem)));
    }
    void pop(RecordArray* array) {
        std::vector<std::byte> last(Raw::kItem);
        if (array) array->pop(last);
        if (!items_.empty()) items_.pop_back();
    }

    const Profile* profile_;
    std::vector<std::uint64_t> items_;  ///< digests of the items
};

}  // namespace pyrsistence::test
