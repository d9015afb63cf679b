// Pairs or members that a bulk operation stores, several in one native step as long as nobody's code runs in between,
// which could look at the dict or set.
//
// REQUIRES the GIL.
#pragma once

#include "bindings/dict_parts.hpp"
#include "bindings/number_array.hpp"

namespace pyrsistence::bindings {

class BatchedStore {
public:
    /// `source` is where they come from, in the order in which they will be added.
    BatchedStore(const Collection& dict, PyObject* source, RawDict::Existing existing);

    /// `value` is null for a member. Stores what waits first if user code may run.
    void add(PyObject* key, PyObject* value);
    /// Stores each row of an array.
    void add_all(const NumberArray& numbers);
    /// Stores what waits. To be called before user code may run, when an error has come, and at the end.
    void flush();

private:
    bool encode_quietly(PyObject* key, PyObject* value);
    void wait();
    void encode(PyObject* key, PyObject* value);

    const Collection& dict_;
    const RawDict::Existing existing_;
    const bool quiet_;
    Entry entry_;
    DictBatch batch_;
};

/// Calls action(element) for each; when an error comes, what was added before it is stored.
template <class Action>
void for_each_element(PyObject* iterator, BatchedStore& store, Action action) {
    SignalPoll poll;
    try {
        while (PyObject* element = PyIter_Next(iterator)) {
            action(nb::steal(element));
            poll.step([&store] { store.flush(); });
        }
        if (PyErr_Occurred()) raise_pending();
    } catch (...) {
        store.flush();
        throw;
    }
    store.flush();
}

}  // namespace pyrsistence::bindings
