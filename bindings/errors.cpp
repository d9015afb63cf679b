#include "bindings/errors.hpp"

#include <cerrno>
#include <filesystem>
#include <new>

#include "pyrsistence/error.hpp"

namespace pyrsistence::bindings {

namespace {

struct Message {
    const std::string& prefix;

    std::string operator()(const std::exception& error) const { return prefix + error.what(); }
};

/// Messages hold paths and keys, whose bytes need not be UTF-8.
nb::object text_of(const std::string& text) {
    return own(PyUnicode_DecodeUTF8(text.data(), static_cast<Py_ssize_t>(text.size()), "surrogateescape"));
}

void set_error(nb::handle type, const std::string& message) {
    PyErr_SetObject(type.ptr(), text_of(message).ptr());
}

/// An OSError takes errno and message, and has attributes for both.
void set_os_error(const char* type, int code, const std::string& message) {
    const nb::object arguments = own(Py_BuildValue("(iO)", code, text_of(message).ptr()));
    PyErr_SetObject(error_type(type).ptr(), arguments.ptr());
}

void set_storage_error(int code, const std::string& message) {
    const char* type = code == ENOENT ? "NotFoundError" : code == EEXIST ? "ExistsError" : "StorageError";
    set_os_error(type, code, message);
}

void translate(const Message& message) {
    try {
        throw;
    } catch (nb::python_error& error) {
        error.restore();
    } catch (const LockedError& error) {
        set_error(error_type("LockedError"), message(error));
    } catch (const FormatError& error) {
        set_error(error_type("FormatError"), message(error));
    } catch (const CorruptionError& error) {
        set_error(error_type("CorruptionError"), message(error));
    } catch (const ClosedError& error) {
        set_error(error_type("ClosedError"), message(error));
    } catch (const ReadOnlyError& error) {
        set_error(error_type("ReadOnlyError"), message(error));
    } catch (const NotFoundError& error) {
        set_os_error("NotFoundError", ENOENT, message(error));
    } catch (const ExistsError& error) {
        set_os_error("ExistsError", EEXIST, message(error));
    } catch (const OrderError& error) {
        set_error(error_type("OrderError"), message(error));
    } catch (const StorageError& error) {
        set_storage_error(error.code(), message(error));
    } catch (const std::filesystem::filesystem_error& error) {
        set_storage_error(error.code().value(), message(error));
    } catch (const Error& error) {
        set_error(error_type("Error"), message(error));
    } catch (const std::bad_alloc&) {
        PyErr_NoMemory();
    } catch (const nb::builtin_exception& error) {
        set_error(PyExc_TypeError, message(error));
    } catch (const std::exception& error) {
        set_error(PyExc_RuntimeError, message(error));
    }
}

}  // namespace

nb::handle error_type(const char* name) {
    static PyObject* module = nullptr;
    if (module == nullptr) module = own(PyImport_ImportModule("pyrsistence._errors")).release().ptr();
    const nb::object type = own(PyObject_GetAttrString(module, name));
    return type.ptr();  // the module keeps it alive
}

void set_python_error(const std::string& prefix) noexcept {
    try {
        translate(Message{prefix});
    } catch (nb::python_error& error) {
        error.restore();
    } catch (...) {
        PyErr_NoMemory();
    }
}

void raise(nb::handle type, const std::string& message) {
    set_error(type, message);
    raise_pending();
}

void raise_key_error(nb::handle key) {
    const nb::object arguments = own(PyTuple_Pack(1, key.ptr()));
    PyErr_SetObject(PyExc_KeyError, arguments.ptr());
    raise_pending();
}

void register_translator() {
    nb::register_exception_translator([](const std::exception_ptr& error, void*) {
        try {
            std::rethrow_exception(error);
        } catch (const nb::builtin_exception&) {
            throw;
        } catch (...) {
            translate(Message{{}});
        }
    });
}

}  // namespace pyrsistence::bindings
