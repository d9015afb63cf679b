// The exceptions of pyrsistence. Each message names the offending value and, where there is one,
// the next step. Python sees the same classes under the same names.
#pragma once

#include <stdexcept>
#include <string>

namespace pyrsistence {

/// Base of everything that pyrsistence throws on purpose.
class Error : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

/// Another process has the store open for writing; the message names its pid.
class LockedError : public Error {
public:
    using Error::Error;
};

/// The directory is not a store, is of a newer format, or holds another container type.
class FormatError : public Error {
public:
    using Error::Error;
};

/// Stored bytes contradict themselves; the message names file and page.
class CorruptionError : public Error {
public:
    using Error::Error;
};

/// The handle was closed, or belongs to the parent of a forked process.
class ClosedError : public Error {
public:
    using Error::Error;
};

/// A change was asked of a store that was opened read-only.
class ReadOnlyError : public Error {
public:
    using Error::Error;
};

/// `r` and `r+` found no store.
class NotFoundError : public Error {
public:
    using Error::Error;
};

/// `x` found something already there.
class ExistsError : public Error {
public:
    using Error::Error;
};

/// Keys that cannot be put in order: they are not comparable, or have no order at all.
class OrderError : public Error {
public:
    using Error::Error;
};

/// The operating system refused: a full disk, an I/O error, a permission.
class StorageError : public Error {
public:
    StorageError(const std::string& what, int code) : Error(what), code_(code) {}
    /// The errno of the failed call.
    int code() const noexcept { return code_; }

private:
    int code_;
};

}  // namespace pyrsistence
