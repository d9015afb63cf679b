// Python objects to value items and back (docs/format.md, "Values"), without pickle: what only pickle can
// represent is reported to the caller. No user code runs in either direction. All functions REQUIRE the GIL.
#pragma once

#include <string>

#include "bindings/py_util.hpp"
#include "pyrsistence/encoding.hpp"

namespace pyrsistence::bindings {

/// Why a value has no item of its own; `type` names the object that stands in the way.
struct Obstacle {
    enum class Kind { none, other_type, shared, too_deep, too_large } kind = Kind::none;
    std::string type;

    std::string describe() const;
};

/// Which NumPy scalars are encoded.
enum class Numpy {
    known,  ///< numbers of the types of which one has been encoded already: no Python code runs
    all,    ///< others are described by pyrsistence._numpy
};

/// Appends the item of `value`. If only pickle can represent it, or it holds a scalar that is left out, returns false:
/// what was appended is void.
bool encode_native(PyObject* value, Buffer& out, Obstacle& obstacle, Numpy numpy = Numpy::all);

enum class Grammar {
    value,     ///< the tags of "Values" but for 0F and 31, which are the serializer's affair
    identity,  ///< the tags of "Keys" that determine the key with its exact type
};

/// The object that the one item in `bytes` stands for. Throws CorruptionError for any other bytes.
/// REQUIRES: `bytes` is private memory, since allocating objects may run the garbage collector.
nb::object decode_native(Bytes bytes, Grammar grammar);

// REQUIRE an instance of int or str respectively; a subclass is encoded as its base.
void put_python_int(Buffer& out, PyObject* integer);
void put_python_text(Buffer& out, PyObject* text);

}  // namespace pyrsistence::bindings
