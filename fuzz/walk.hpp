// Does with a store whatever can be done with one, however damaged it is. Errors of pyrsistence are fine if
// verify() has announced them: a Violation is anything else, such as another exception, an iteration that does
// not end, or a store that verify() calls sound and that is not. Uses nothing but the directories it is given.
#pragma once

#include <filesystem>
#include <stdexcept>

namespace pyrsistence::fuzz {

/// Deliberately no pyrsistence::Error.
class Violation : public std::logic_error {
public:
    using std::logic_error::logic_error;
};

/// Reads, changes, compacts and copies the store; `scratch` is a directory for copies of it.
void walk_store(const std::filesystem::path& store, const std::filesystem::path& scratch);

}  // namespace pyrsistence::fuzz
