// The native part of Store, and the context manager of transactions.
#include <set>
#include <thread>

#include "bindings/collection.hpp"
#include "pyrsistence/store.hpp"

namespace pyrsistence::bindings {

namespace {

using Stores = Use<Store>;

PyTypeObject* store_type = nullptr;
PyTypeObject* transaction_type = nullptr;

constinit const Kind kStore = kind_of<Store>("Store", nullptr, &store_type);

/// A dict from name to type.
PyObject* containers(PyObject* self, PyObject*) {
    const nb::object all = own(PyDict_New());
    for (const Store::Entry& one : Stores(collection_of(self))->containers()) {
        checked(PyDict_SetItem(all.ptr(), to_text(one.name).ptr(), to_text(one.type).ptr()));
    }
    return Py_NewRef(all.ptr());
}

/// None if there is none.
PyObject* type_of(PyObject* self, PyObject* name) {
    const auto type = Stores(collection_of(self))->type_of(text_of(name));
    if (!type) Py_RETURN_NONE;
    return to_text(*type).release().ptr();
}

PyObject* remove(PyObject* self, PyObject* name) {
    const std::string text = text_of(name);
    return PyBool_FromLong(
        Stores(collection_of(self)).without_gil([&](Store& store) { return store.remove(text); }));
}

PyObject* rename(PyObject* self, PyObject* args) {
    PyObject *from, *to;
    if (!PyArg_ParseTuple(args, "UU:rename", &from, &to)) raise_pending();
    return PyBool_FromLong(Stores(collection_of(self))->rename(text_of(from), text_of(to)));
}

// --- transactions

struct TransactionObject {
    PyObject_HEAD
    PyObject* owner;           ///< a collection
    Transaction* transaction;  ///< null: not begun, or ended
    std::thread::id thread;    ///< that began it
    bool durable;
};

TransactionObject& transaction_of(PyObject* self) noexcept { return *reinterpret_cast<TransactionObject*>(self); }

/// The threads of all transactions that are open; never destroyed.
std::multiset<std::thread::id>& threads() {
    static auto& all = *new std::multiset<std::thread::id>;
    return all;
}

std::unique_ptr<Transaction> take(TransactionObject& object) {
    std::unique_ptr<Transaction> transaction(std::exchange(object.transaction, nullptr));
    if (transaction) threads().erase(threads().find(object.thread));
    return transaction;
}

PyObject* enter(PyObject* self, PyObject*) {
    TransactionObject& object = transaction_of(self);
    if (object.transaction != nullptr) raise_runtime_error("this transaction has begun already; make another one");
    storage::Caller::set_task(present_task());
    const Use<Handle> engine(collection_of(object.owner));
    auto transaction = std::make_unique<Transaction>(*engine, object.durable);
    object.thread = *threads().insert(std::this_thread::get_id());
    object.transaction = transaction.release();
    return Py_NewRef(self);
}

std::unique_ptr<Transaction> end(PyObject* self) {
    std::unique_ptr<Transaction> transaction = take(transaction_of(self));
    if (!transaction) raise_runtime_error("this transaction has not begun, or has ended already");
    storage::Caller::set_task(present_task());
    return transaction;
}

PyObject* exit(PyObject* self, PyObject* args) {
    PyObject *type = Py_None, *value = Py_None, *traceback = Py_None;
    if (!PyArg_ParseTuple(args, "|OOO:__exit__", &type, &value, &traceback)) raise_pending();
    const std::unique_ptr<Transaction> transaction = end(self);
    {
        const WithoutGil released;
        if (type == Py_None) transaction->commit();
        else transaction->roll_back();
    }
    return Py_NewRef(Py_False);
}

/// The owner may be closed: the store stays open until the transaction has ended.
void destroy(PyObject* self) {
    PyTypeObject* type = Py_TYPE(self);
    TransactionObject& object = transaction_of(self);
    PyObject_GC_UnTrack(self);
    take(object).reset();
    Py_CLEAR(object.owner);
    type->tp_free(self);
    Py_DECREF(type);
}

int traverse(PyObject* self, visitproc visit, void* arg) {
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(transaction_of(self).owner);
    return 0;
}

int clear(PyObject* self) {
    Py_CLEAR(transaction_of(self).owner);
    return 0;
}

PyMethodDef transaction_methods[] = {
    {"__enter__", guarded<&enter>, METH_NOARGS, "Begin."},
    {"__exit__", guarded<&exit>, METH_VARARGS, "Commit, or undo everything after an exception."},
    {nullptr, nullptr, 0, nullptr},
};

template <class Function>
PyType_Slot slot(int id, Function* function) {
    return {id, reinterpret_cast<void*>(function)};
}

constexpr const char* kStoreDoc =
    R"(StoreHandle(dirname, pickler=None, unpickler=None, *, mode='a', allow_pickle=True, memory_limit=None,
            at=None)
--

The native base of Store.)";

}  // namespace

bool in_transaction() { return threads().contains(std::this_thread::get_id()); }

PyObject* begin_transaction(PyObject* self, PyObject* args, PyObject* kwargs) {
    static const char* names[] = {"durable", nullptr};
    int durable = 1;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|$p:transaction", const_cast<char**>(names), &durable)) {
        raise_pending();
    }
    (void)collection_of(self).session();
    nb::object made = own(transaction_type->tp_alloc(transaction_type, 0));
    TransactionObject& object = transaction_of(made.ptr());
    object.owner = Py_NewRef(self);
    object.durable = durable != 0;
    return made.release().ptr();
}

void bind_store(nb::module_& module) {
    store_type = make_collection_type(module, {"pyrsistence.StoreHandle",
                                               kStoreDoc,
                                               0,
                                               &new_collection<kStore>,
                                               {},
                                               {{"_containers", guarded<&containers>, METH_NOARGS, nullptr},
                                                {"_type_of", guarded<&type_of>, METH_O, nullptr},
                                                {"_remove", guarded<&remove>, METH_O, nullptr},
                                                {"_rename", guarded<&rename>, METH_VARARGS, nullptr}}});
    transaction_type = make_plain_type("pyrsistence.Transaction", sizeof(TransactionObject),
                                       {{Py_tp_methods, transaction_methods},
                                        slot(Py_tp_traverse, &traverse),
                                        slot(Py_tp_clear, &clear),
                                        slot(Py_tp_dealloc, &destroy)});
}

}  // namespace pyrsistence::bindings
