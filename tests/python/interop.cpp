// The C++ side of test_cpp_interop.py: `interop write DIR` makes stores that Python reads, `interop read DIR`
// prints, one entry a line, stores that Python has changed.
#include <cstdint>
#include <iostream>
#include <map>
#include <string>
#include <utility>

#include <pyrsistence/pyrsistence.hpp>

namespace {

using Edges = pyrsistence::Dict<std::pair<std::int64_t, std::int64_t>, std::map<std::string, double>>;
using Names = pyrsistence::List<std::string>;
using Weights = pyrsistence::Dict<double, int>;
using Seen = pyrsistence::Set<std::string>;
using Last = pyrsistence::Deque<int>;
using Symbols = pyrsistence::SortedDict<double, std::string>;
using Tasks = pyrsistence::PriorityQueue<std::string, double>;
using Callers = pyrsistence::MultiDict<double, std::string>;
using Samples = pyrsistence::Array<float>;

struct Edge {
    std::uint64_t from;
    std::uint32_t count[2];
};

}  // namespace

template <>
struct pyrsistence::ArrayItem<Edge> {
    static std::string dtype() { return "[('from', '<u8'), ('count', '<u4', (2,))]"; }
    static std::vector<std::uint64_t> shape() { return {}; }
};

namespace {

void write(const std::string& directory) {
    Edges edges(directory + "/edges");
    Names names(directory + "/names");
    Weights weights(directory + "/weights");
    for (int i = 0; i < 1000; ++i) {
        edges[{i, -i}] = std::map<std::string, double>{{"weight", i / 2.0}};
        names.push_back("n" + std::to_string(i));
        weights[i / 2.0] = i;
    }
    Seen seen(directory + "/seen");
    Last last(directory + "/last", {.max_size = 3});
    for (const char* name : {"b", "a", "b"}) seen.insert(name);
    for (int i = 0; i < 5; ++i) last.push_front(i);
    Symbols symbols(directory + "/symbols");
    Tasks tasks(directory + "/tasks");
    for (int i = 10; i-- > 0;) symbols.insert_or_assign(i / 2.0 - 2, std::to_string(i));
    for (const char* task : {"b", "a"}) tasks.push(task, 1.5);
    Callers callers(directory + "/callers");
    for (int i = 9; i-- > 0;) callers.add(i % 3 / 2.0, "c" + std::to_string(i));
    callers.discard(0.5, "c4");
    Samples samples(directory + "/samples");
    for (int i = 0; i < 3000; ++i) samples.push_back(static_cast<float>(i) / 2);
    pyrsistence::Array<Edge> links(directory + "/links");
    links.push_back({7, {1, 2}});
    edges.erase({3, -3});
    names[1] = "\xC3\xA9t\xC3\xA9";
    names.insert(0, std::string(100'000, 'x'));
}

void read(const std::string& directory) {
    for (const auto& [key, value] : Edges(directory + "/edges")) {
        std::cout << key.first << ' ' << key.second << ' ' << value.at("weight") << '\n';
    }
    for (const std::string& name : Names(directory + "/names")) std::cout << name << '\n';
    const Weights weights(directory + "/weights");
    for (const auto& [key, value] : weights) std::cout << key << ' ' << value << '\n';
    std::cout << weights.at(1.0) << '\n';
    for (const std::string& name : Seen(directory + "/seen")) std::cout << name << '\n';
    for (const auto& [key, value] : Symbols(directory + "/symbols")) std::cout << key << ' ' << value << '\n';
    for (const auto& [priority, task] : Tasks(directory + "/tasks")) std::cout << priority << ' ' << task << '\n';
    const Callers callers(directory + "/callers");
    for (const auto& [key, caller] : callers) std::cout << key << ' ' << caller << '\n';
    for (const std::string& caller : callers.getall(1)) std::cout << caller << '\n';
    pyrsistence::List<double> mixed(directory + "/mixed");
    mixed.sort(std::ranges::greater{});
    for (const int one : Last(directory + "/last")) std::cout << one << '\n';
    for (const float one : Samples(directory + "/samples")) std::cout << one << '\n';
    for (const Edge& one : pyrsistence::Array<Edge>(directory + "/links")) std::cout << one.from << ' ' << one.count[1] << '\n';
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 3) return 2;
    const std::string command = argv[1];
    try {
        command == "write" ? write(argv[2]) : read(argv[2]);
    } catch (const std::exception& error) {
        std::cerr << error.what() << '\n';
        return 1;
    }
}
