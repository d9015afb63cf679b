// Counts words in a directory that keeps the counts: run it again with more text and it adds to them, open
// the directory with pyrsistence.EMDict in Python and read them.
//
//     word_count DIRECTORY [FILE...]        without files: standard input
#include <cctype>
#include <cstdint>
#include <exception>
#include <fstream>
#include <iostream>
#include <iterator>
#include <set>
#include <string>
#include <utility>

#include <pyrsistence/dict.hpp>

namespace {

using Counts = pyrsistence::Dict<std::string, std::uint64_t>;

constexpr std::size_t kShown = 20;

/// ASCII letters, digits, `_` and `'`, and whatever is beyond ASCII.
bool is_word(char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte >= 0x80 || std::isalnum(byte) || c == '_' || c == '\'';
}

/// Adds the words of a text, in lower case, and returns their number.
std::uint64_t count_words(Counts& counts, std::istream& text) {
    std::uint64_t words = 0;
    std::string line, word;
    while (std::getline(text, line)) {
        line.push_back('\n');
        for (const char c : line) {
            if (is_word(c)) {
                word.push_back(static_cast<char>(std::tolower(static_cast<unsigned char>(c))));
            } else if (!word.empty()) {
                counts[word] = counts.value_or(word, 0) + 1;
                word.clear();
                ++words;
            }
        }
    }
    return words;
}

std::uint64_t count_file(Counts& counts, const char* path) {
    std::ifstream text(path, std::ios::binary);
    if (!text) throw pyrsistence::Error(std::string("cannot read ") + path);
    return count_words(counts, text);
}

/// Prints the most frequent words; holds no more of them in memory than it prints.
void print_top(const Counts& counts) {
    std::set<std::pair<std::int64_t, std::string>> top;  // negative count, so that ties are alphabetical
    for (const auto& [word, count] : counts) {
        top.emplace(-static_cast<std::int64_t>(count), word);
        if (top.size() > kShown) top.erase(std::prev(top.end()));
    }
    for (const auto& [negative, word] : top) std::cout << -negative << ' ' << word << '\n';
}

void run(int argc, char** argv) {
    Counts counts(argv[1]);
    std::uint64_t words = argc == 2 ? count_words(counts, std::cin) : 0;
    for (int i = 2; i < argc; ++i) words += count_file(counts, argv[i]);
    counts.close();

    const Counts reopened(argv[1], {.mode = pyrsistence::Mode::read});
    std::cout << words << " words read, " << reopened.size() << " different ones stored\n";
    print_top(reopened);
}

}  // namespace

int main(int argc, char** argv) {
    if (argc < 2) {
        std::cerr << "usage: word_count DIRECTORY [FILE...]\n";
        return 2;
    }
    try {
        run(argc, argv);
    } catch (const std::exception& error) {
        std::cerr << "word_count: " << error.what() << '\n';
        return 1;
    }
    return 0;
}
