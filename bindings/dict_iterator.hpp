// Iterators over an EMDict or EMSet: keys, values or items, in insertion order or against it. An iterator holds a
// position and a private copy of the entries that follow, which it reads anew when the store has changed:
// entries may be deleted and overwritten meanwhile, but a new key ends the iteration with RuntimeError.
#pragma once

#include "bindings/collection.hpp"

namespace pyrsistence::bindings {

enum class Part { keys, values, items };

void init_dict_iterator();

/// A new iterator over `dict`, an instance of EMDict or EMSet; `what` it is called in messages. Throws ClosedError.
PyObject* make_dict_iterator(PyObject* dict, Part part, bool backwards, const char* what);

}  // namespace pyrsistence::bindings
