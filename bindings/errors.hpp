// C++ exceptions to Python ones: the classes live in pyrsistence._errors, so that C++ and Python raise the
// same ones. `guarded` is the boundary of every function that Python calls directly: no C++ exception passes
// it. All functions REQUIRE the GIL.
#pragma once

#include <string>
#include <type_traits>

#include "bindings/py_util.hpp"

namespace pyrsistence::bindings {

/// The exception class of this name in pyrsistence._errors. REQUIRES: no Python error is pending.
nb::handle error_type(const char* name);

/// Sets the Python error that stands for the exception being handled, its message behind `prefix`.
/// REQUIRES: called in a catch block.
void set_python_error(const std::string& prefix = {}) noexcept;

/// Throws the pending Python error as a C++ exception.
[[noreturn]] inline void raise_pending() { nb::detail::raise_python_error(); }
[[noreturn]] void raise(nb::handle type, const std::string& message);
[[noreturn]] inline void raise_runtime_error(const std::string& message) {
    raise(PyExc_RuntimeError, message);
}
/// KeyError(key), also where the key is a tuple.
[[noreturn]] void raise_key_error(nb::handle key);

/// Lets nanobind translate the exceptions of functions that it calls.
void register_translator();

namespace boundary {

template <auto Function>
struct Guarded;

template <class Result, class... Args, Result (*Function)(Args...)>
struct Guarded<Function> {
    static Result call(Args... args) noexcept {
        try {
            return Function(args...);
        } catch (...) {
            set_python_error();
        }
        if constexpr (std::is_pointer_v<Result>) return nullptr;
        else return static_cast<Result>(-1);
    }
};

}  // namespace boundary

/// `Function` as a C function for a type slot or method table: on an exception the Python error is set and
/// the result is null or -1.
template <auto Function>
inline constexpr auto guarded = &boundary::Guarded<Function>::call;

}  // namespace pyrsistence::bindings
