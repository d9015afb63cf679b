// What a first program against the installed library looks like; it exits with 0 if the library works.
#include <cstdint>
#include <cstdio>

#include <pyrsistence/buffer.hpp>
#include <pyrsistence/error.hpp>
#include <pyrsistence/types.hpp>

int main() {
    pyrsistence::Buffer buffer;
    buffer.append(pyrsistence::as_bytes("persistent"));
    const bool works = pyrsistence::as_text(buffer.view()) == "persistent";
    std::puts(works ? "consumer: ok" : "consumer: wrong bytes");
    return works ? 0 : 1;
}
