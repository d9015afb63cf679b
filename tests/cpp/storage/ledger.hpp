// Containers of one store whose contents follow from a few numbers, so that a view which mixes two states, or
// holds a page of another one, is found out. Used by processes that read beside a writer; each object belongs to
// one thread.
#pragma once

#include "pyrsistence/store.hpp"
#include "support.hpp"

namespace pyrsistence::test {

class Ledger {
    using Blob = std::vector<std::byte>;

public:
    static constexpr std::uint64_t kAccounts = 400, kShare = 1000, kBlobs = 40, kLatest = 200;
    static constexpr std::size_t kLength = 300;  ///< of the lists, about

    explicit Ledger(pyrsistence::Store& store)
        : store_(store),
          accounts_(store.dict<std::uint64_t, std::uint64_t>("accounts")),
          count_(store.dict<std::uint64_t, std::uint64_t>("count")),
          blobs_(store.dict<std::uint64_t, Blob>("blobs")),
          history_(store.list<Blob>("history")),
          plain_(store.list<Blob>("plain")),
          latest_(store.dict<std::uint64_t, std::uint64_t>("latest")) {}

    static void create(pyrsistence::Store& store) {
        Transaction transaction(store, false);
        Ledger ledger(store);
        for (std::uint64_t i = 0; i < kAccounts; ++i) ledger.accounts_.insert_or_assign(i, kShare);
        ledger.count_.insert_or_assign(0, 0);
        transaction.commit();
    }

    std::uint64_t count() const { return count_.at(0); }

    /// Transaction number count(), and then operations of their own.
    void step() {
        const std::uint64_t number = count();
        {
            Transaction transaction(store_, false);
            Random random(number);
            move(random.below(kAccounts), random.below(kAccounts), random.below(100));
            history_.push_back(item(number));
            if (history_.size() > kLength) history_.erase(0, history_.size() - kLength / 2);
            blobs_.insert_or_assign(number % kBlobs, item(number, true));
            count_.insert_or_assign(0, number + 1);
            transaction.commit();
        }
        finish(number);
        if (plain_.size() > kLength) plain_.erase(0, 10);
    }
    /// A writer that died may have left the last step without its last operations.
    void resume() {
        if (count() > 0) finish(count() - 1);
    }
    /// A transaction that leaves no trace.
    void step_back() {
        Transaction transaction(store_, false);
        Random random(count());
        for (int i = 0; i < 30; ++i) move(random.below(kAccounts), 0, 1);
        history_.clear();
        blobs_.insert_or_assign(1, item(~std::uint64_t{0}, true));
        transaction.roll_back();
    }

    /// What is wrong with this view, or nothing.
    std::string fault() const {
        const std::uint64_t number = count();
        std::uint64_t sum = 0;
        for (const auto& [account, money] : accounts_) sum += money;
        if (sum != kAccounts * kShare) return "the accounts have " + std::to_string(sum);
        std::string found = fault_of(history_, number, 0, "history");
        if (found.empty()) found = fault_of_blobs(number);
        // The last operations of step number - 1 may be missing.
        if (found.empty()) found = fault_of(plain_, number, 1, "plain");
        if (found.empty()) found = fault_of_latest(number);
        return found.empty() ? found : found + " at " + std::to_string(number);
    }

private:
    void finish(std::uint64_t number) {
        if (plain_.empty() || number_of(plain_.at(plain_.size() - 1)) != number) plain_.push_back(item(number));
        latest_.insert_or_assign(number % kLatest, number);
    }
    void move(std::uint64_t from, std::uint64_t to, std::uint64_t amount) {
        amount = std::min(amount, accounts_.at(from));
        accounts_.insert_or_assign(from, accounts_.at(from) - amount);
        accounts_.insert_or_assign(to, accounts_.at(to) + amount);
    }

    static Blob item(std::uint64_t number, bool large = false) {
        constexpr std::size_t kSizes[] = {10, 100, 700, 1500};
        const std::size_t size = large && number % 3 == 0 ? 17'000 + number % 5000 : kSizes[number % 4];
        const std::string text = content(number, size);
        Blob blob(text.size());
        std::memcpy(blob.data(), text.data(), text.size());
        std::memcpy(blob.data(), &number, sizeof number);
        return blob;
    }
    static std::uint64_t number_of(const Blob& blob) {
        std::uint64_t number = 0;
        if (blob.size() >= sizeof number) std::memcpy(&number, blob.data(), sizeof number);
        return number;
    }

    /// The items of a list are numbered without gaps up to `end`, of which `missing` may be missing.
    static std::string fault_of(const List<Blob>& list, std::uint64_t end, std::uint64_t missing,
                                const std::string& name) {
        if (list.empty()) return end <= missing ? "" : name + " is empty";
        std::uint64_t number = number_of(list.front());
        for (const Blob blob : list) {
            if (blob != item(number)) return "item " + std::to_string(number) + " of " + name;
            ++number;
        }
        return number <= end && number + missing >= end ? "" : name + " ends at " + std::to_string(number);
    }

    /// The last of the numbers below `end` that is `key` modulo `modulus`.
    static std::optional<std::uint64_t> last(std::uint64_t end, std::uint64_t key, std::uint64_t modulus) {
        if (end <= key) return std::nullopt;
        return end - 1 - (end - 1 - key) % modulus;
    }
    std::string fault_of_blobs(std::uint64_t end) const {
        for (std::uint64_t key = 0; key < kBlobs; ++key) {
            const auto expected = last(end, key, kBlobs);
            const auto found = blobs_.get(key);
            if (found.has_value() != expected.has_value() || (found && *found != item(*expected, true))) {
                return "blob " + std::to_string(key);
            }
        }
        return "";
    }
    std::string fault_of_latest(std::uint64_t end) const {
        std::uint64_t late = 0;
        for (std::uint64_t key = 0; key < kLatest; ++key) {
            if (latest_.get(key) == last(end, key, kLatest)) continue;
            if (++late > 1 || latest_.get(key) != last(end - 1, key, kLatest)) return "latest " + std::to_string(key);
        }
        return "";
    }

    pyrsistence::Store& store_;
    Dict<std::uint64_t, std::uint64_t> accounts_, count_;
    Dict<std::uint64_t, Blob> blobs_;
    List<Blob> history_, plain_;
    Dict<std::uint64_t, std::uint64_t> latest_;
};

}  // namespace pyrsistence::test
