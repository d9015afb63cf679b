#include <algorithm>

#include "fuzz/samples.hpp"
#include "fuzz/targets.hpp"
#include "fuzz/walk.hpp"

namespace pyrsistence::fuzz {

void run_store(Bytes input) {
    Image::unpack(input).write(scratch_directory() / "store");
    walk_store(scratch_directory() / "store", scratch_directory() / "copy");
}

}  // namespace pyrsistence::fuzz

PYRSISTENCE_FUZZ_TARGET(pyrsistence::fuzz::run_store)

#ifdef PYRSISTENCE_LIBFUZZER
extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t max_size);

namespace {

using namespace pyrsistence;

/// The fuzzer's own changes, within one page, behind its checksum.
std::vector<std::byte> mutate_page(Bytes packed, fuzz::Random& random) {
    fuzz::Image image = fuzz::Image::unpack(packed);
    const auto pages = fuzz::sound_pages(image);
    if (!pages.empty()) {
        auto* page = reinterpret_cast<std::uint8_t*>(&image.data[4096 * pages[random.below(pages.size())]]);
        LLVMFuzzerMutate(page + 4, 4092, 4092);
    }
    fuzz::mend_checksums(image, pages);
    return image.pack();
}

}  // namespace

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t max_size,
                                               unsigned seed) {
    fuzz::Random random(seed);
    const Bytes input{reinterpret_cast<const std::byte*>(data), size};
    const auto output = random.chance(20) ? mutate_page(input, random) : fuzz::mutate_store(input, random);
    if (output.size() > max_size) return size;
    std::copy_n(reinterpret_cast<const std::uint8_t*>(output.data()), output.size(), data);
    return output.size();
}
#endif
