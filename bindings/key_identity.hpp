// What makes two Python keys the same: an item that is equal, byte for byte, for keys that are equal in
// Python (docs/format.md, "Keys"). Built-in types are encoded here, all others as pyrsistence._keys describes
// them. REQUIRES the GIL; user code (__hash__, __reduce_ex__, __em_key__, __eq__ in the guard) may run.
#pragma once

#include "bindings/py_util.hpp"
#include "pyrsistence/buffer.hpp"

namespace pyrsistence::bindings {

/// Appends the identity of `key`; true if decoding it gives back the key with its exact type. Throws
/// TypeError for what cannot be a key, and whatever the key's own methods raise.
bool encode_identity(PyObject* key, Buffer& out);

}  // namespace pyrsistence::bindings
