// What a bulk operation on a dict or set will need soon is loaded before it is needed, if what comes can be known
// without running anybody's code: it lies in an exact dict, list or tuple, and keys that are asked for their
// identity are exact int, str, bytes or float.
//
// Used under the interpreter lock. It changes nothing, and no error leaves it: who needs what is damaged will be told.
#pragma once

#include "bindings/collection.hpp"
#include "pyrsistence/raw_dict.hpp"

namespace pyrsistence::bindings {

class LookAhead {
public:
    enum class Holds { pairs, keys };
    /// `source` holds the pairs or keys, in the order in which they will be used. Both outlive this.
    LookAhead(const Collection& dict, PyObject* source, Holds holds);
    /// To be called before each one is used.
    void step() {
        if (active_ && left_-- == 0) look();
    }

private:
    static constexpr unsigned kGroup = RawDict::kTogether;
    static constexpr unsigned kPause = 1024; ///< pairs that are not looked at where it was not worth it

    void look();
    PyObject* next_key();
    bool near_last(PyObject* key);

    const Collection& dict_;
    PyObject* const source_;
    const Holds holds_;
    const bool active_;
    unsigned left_ = 0;
    Py_ssize_t position_ = 0;
    long long last_ = 0;  ///< of the keys that are integers
    Chunk identities_;
    Buffer identity_;
};

}  // namespace pyrsistence::bindings
