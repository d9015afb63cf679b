// Writes the golden store `divided` of the current format version: make_divided DIRECTORY. From Python no dict of so few
// entries gets a delta.
#include "fuzz/samples.hpp"

int main(int count, char** arguments) {
    if (count != 2) return 2;
    pyrsistence::fuzz::make_divided_store(arguments[1]);
    return 0;
}
