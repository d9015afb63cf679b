#include "bindings/collection.hpp"
#include "storage/store.hpp"

namespace pyrsistence::bindings {

namespace {

/// While a thread waits for a checkpoint, others may run Python.
void* before_wait() { return PyGILState_Check() ? PyEval_SaveThread() : nullptr; }
void after_wait(void* state) {
    if (state != nullptr) restore_thread(static_cast<PyThreadState*>(state));
}

}  // namespace

}  // namespace pyrsistence::bindings

NB_MODULE(_core, module) {
    using namespace pyrsistence;
    module.doc() = "The native part of pyrsistence.";
    module.attr("__version__") = PYRSISTENCE_VERSION;
    bindings::register_translator();
    storage::Store::set_wait_hooks({&bindings::before_wait, &bindings::after_wait});
    bindings::bind_dict(module);
    bindings::bind_list(module);
    bindings::bind_set(module);
    bindings::bind_deque(module);
    bindings::bind_sorted(module);
    bindings::bind_multi_dict(module);
    bindings::bind_array(module);
    bindings::bind_store(module);
    bindings::bind_verify(module);
    bindings::bind_codec(module);
    bindings::bind_external(module);
}
