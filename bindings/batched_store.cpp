#include "bindings/batched_store.hpp"

#include "bindings/value_codec.hpp"

namespace pyrsistence::bindings {

namespace {

/// Whether asking the key for its bytes runs nobody's code.
bool plain(PyObject* key) {
    return PyLong_CheckExact(key) || PyUnicode_CheckExact(key) || PyBytes_CheckExact(key) || PyFloat_CheckExact(key);
}

/// Whether iterating over it runs nobody's code.
bool quiet(PyObject* source) { return PyDict_CheckExact(source) || PyList_CheckExact(source) || PyTuple_CheckExact(source); }

}  // namespace

BatchedStore::BatchedStore(const Collection& dict, PyObject* source, RawDict::Existing existing)
    : dict_(dict), existing_(existing), quiet_(quiet(source) && !dict.serializer().custom_keys()) {}

void BatchedStore::add(PyObject* key, PyObject* value) {
    const bool encoded = quiet_ && plain(key) && encode_quietly(key, value);
    if (encoded && DictBatch::takes(entry_.view())) {
        return wait();
    }
    flush();
    if (!encoded) encode(key, value);
    Buffer ignored;
    const Use<RawDict> dict(dict_);
    if (existing_ == RawDict::Existing::replace) dict->set(entry_.view());
    else dict->insert(entry_.view(), ignored);
}

/// False if that may run somebody's code.
bool BatchedStore::encode_quietly(PyObject* key, PyObject* value) {
    entry_.encode_key(dict_.serializer(), key);
    if (value == nullptr) {
        put_none(entry_.bytes);
        return true;
    }
    Obstacle obstacle;
    return encode_native(value, entry_.bytes, obstacle, Numpy::known);
}

void BatchedStore::encode(PyObject* key, PyObject* value) {
    entry_.encode_key(dict_.serializer(), key);
    if (value == nullptr) put_none(entry_.bytes);
    else dict_.serializer().encode_value(value, entry_.bytes);
}

/// The entry is stored later.
void BatchedStore::wait() {
    batch_.add(entry_.view());
    if (batch_.full()) flush();
}

void BatchedStore::add_all(const NumberArray& numbers) {
    SignalPoll poll;
    for (std::size_t i = 0; i < numbers.rows(); ++i, poll.step([this] { flush(); })) {
        entry_.encode_key(numbers.key(i));
        numbers.put_value(entry_.bytes, i);
        wait();
    }
    flush();
}

void BatchedStore::flush() {
    if (batch_.size() > 0) Use<RawDict>(dict_)->set_many(batch_, existing_);
}

}  // namespace pyrsistence::bindings
