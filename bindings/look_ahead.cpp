#include "bindings/look_ahead.hpp"

#include <array>

namespace pyrsistence::bindings {

LookAhead::LookAhead(const Collection& dict, PyObject* source, Holds holds)
    : dict_(dict), source_(source), holds_(holds),
      active_(PyDict_CheckExact(source) || PyList_CheckExact(source) || PyTuple_CheckExact(source)) {}

/// Null at the end, and for what is no pair.
PyObject* LookAhead::next_key() {
    PyObject* key = nullptr;
    if (PyDict_CheckExact(source_)) return PyDict_Next(source_, &position_, &key, nullptr) ? key : nullptr;
    if (position_ >= PySequence_Fast_GET_SIZE(source_)) return nullptr;
    PyObject* pair = PySequence_Fast_GET_ITEM(source_, position_++);
    if (holds_ == Holds::keys) return pair;
    return PyTuple_CheckExact(pair) && PyTuple_GET_SIZE(pair) == 2 ? PyTuple_GET_ITEM(pair, 0) : nullptr;
}

/// Integers that follow closely are stored closely: their pages have been loaded by the one before.
bool LookAhead::near_last(PyObject* key) {
    constexpr long long kNear = 1024;
    if (!PyLong_CheckExact(key)) return false;
    int overflow = 0;
    const long long value = PyLong_AsLongLongAndOverflow(key, &overflow);
    const long long before = std::exchange(last_, value);
    return overflow == 0 && value >= before && value - before < kNear;
}

void LookAhead::look() {
    std::array<PyObject*, kGroup> keys;
    unsigned count = 0, seen = 0;
    for (; seen < kGroup; ++seen) {
        PyObject* key = next_key();
        if (key == nullptr) break;
        if (near_last(key)) continue;
        if (PyLong_CheckExact(key) || PyUnicode_CheckExact(key) || PyBytes_CheckExact(key) || PyFloat_CheckExact(key)) {
            keys[count++] = key;
        }
    }
    left_ = seen == kGroup ? kGroup - 1 : UINT_MAX;  // else nothing more is known
    if (count < kGroup / 4) return;
    identities_.clear();
    try {
        for (unsigned i = 0; i < count; ++i) {
            identity_.clear();
            dict_.serializer().encode_lookup(keys[i], identity_);
            identities_.add(0, identity_);
        }
        if (Use<RawDict>(dict_)->prefetch(identities_)) return;
        for (unsigned i = 0; i < kPause && next_key() != nullptr; ++i) ++left_;
    } catch (const Error&) {
        left_ = UINT_MAX;
    } catch (const nb::python_error&) {
        left_ = UINT_MAX;
    }
}

}  // namespace pyrsistence::bindings
