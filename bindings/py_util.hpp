// Small helpers between the C API of Python and C++: checked ownership, byte views, Python functions that
// are imported on first use. Each REQUIRES the GIL; a Python error becomes nb::python_error.
#pragma once

#include <nanobind/nanobind.h>

#include <span>
#include <string>
#include <string_view>

#include "pyrsistence/types.hpp"

namespace nb = nanobind;

namespace pyrsistence::bindings {

/// Takes over a new reference; throws the pending Python error if there is none.
inline nb::object own(PyObject* new_reference) {
    if (new_reference == nullptr) nb::detail::raise_python_error();
    return nb::steal(new_reference);
}

/// REQUIRES: `status` is the result of a C API call for which a negative number means failure.
template <class Status>
inline Status checked(Status status) {
    if (status < 0) nb::detail::raise_python_error();
    return status;
}

/// REQUIRES: `object` is a bytes object (or of a subclass) that outlives the view.
inline Bytes bytes_of(PyObject* object) noexcept {
    return {reinterpret_cast<const std::byte*>(PyBytes_AS_STRING(object)),
            static_cast<std::size_t>(PyBytes_GET_SIZE(object))};
}
inline nb::object to_bytes(Bytes bytes) {
    return own(PyBytes_FromStringAndSize(reinterpret_cast<const char*>(bytes.data()),
                                         static_cast<Py_ssize_t>(bytes.size())));
}

/// The bytes of a name; TypeError if it is no str. Names written by other programs need not be UTF-8.
inline std::string text_of(PyObject* object) {
    if (!PyUnicode_Check(object)) {
        PyErr_Format(PyExc_TypeError, "a name is a str, not %.200s", Py_TYPE(object)->tp_name);
        nb::detail::raise_python_error();
    }
    const nb::object utf8 = own(PyUnicode_AsEncodedString(object, "utf-8", "surrogateescape"));
    return std::string(as_text(bytes_of(utf8.ptr())));
}
inline nb::object to_text(std::string_view text) {
    return own(PyUnicode_DecodeUTF8(text.data(), static_cast<Py_ssize_t>(text.size()), "surrogateescape"));
}

/// The memory of an object, which must be contiguous.
class Memory {
public:
    Memory(PyObject* object, int flags) { checked(PyObject_GetBuffer(object, &view_, flags)); }
    ~Memory() { PyBuffer_Release(&view_); }
    Memory(const Memory&) = delete;
    Memory& operator=(const Memory&) = delete;

    MutableBytes bytes() const noexcept { return {static_cast<std::byte*>(view_.buf), static_cast<std::size_t>(view_.len)}; }
    std::span<const std::uint64_t> indices() const noexcept {
        return {static_cast<const std::uint64_t*>(view_.buf), static_cast<std::size_t>(view_.len) / sizeof(std::uint64_t)};
    }

private:
    Py_buffer view_;
};

/// An attribute of a Python module, imported on first use and kept until the process ends.
class LazyAttribute {
public:
    constexpr LazyAttribute(const char* module, const char* name) noexcept : module_(module), name_(name) {}

    PyObject* get() {
        if (attribute_ == nullptr) {
            const nb::object module = own(PyImport_ImportModule(module_));
            attribute_ = own(PyObject_GetAttrString(module.ptr(), name_)).release().ptr();
        }
        return attribute_;
    }
    template <class... Args>
    nb::object operator()(const Args&... arguments) {
        return own(PyObject_CallFunctionObjArgs(get(), arguments.ptr()..., nullptr));
    }

private:
    const char* module_;
    const char* name_;
    PyObject* attribute_ = nullptr;
};

}  // namespace pyrsistence::bindings
