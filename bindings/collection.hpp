// What EMDict and EMList have in common on the Python side: the object, how it is opened, closed, pickled and
// collected, and how its engine is used. Every function REQUIRES the GIL.
//
// The rule for all operations: encode keys and values into Buffers, which may run user code; then one native
// step within a Use; then decode from copied bytes, which may run user code again. No user code runs inside a
// Use, so the object may be closed, reopened or changed before and after it, but never during it.
//
// The types are plain heap types of the C API: their metaclass is `type`, so that they combine with any other
// class, and slots are called without a detour. tp_new makes a closed object, so every instance is usable.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bindings/errors.hpp"
#include "bindings/serializer.hpp"
#include "pyrsistence/container.hpp"
#include "pyrsistence/rank.hpp"
#include "storage/store.hpp"

namespace pyrsistence::bindings {

/// Takes the GIL again. A daemon thread that comes back while the interpreter ends stops here for ever:
/// Python would end it by unwinding through frames that cannot be unwound.
void restore_thread(PyThreadState* state) noexcept;

class WithoutGil {
public:
    WithoutGil() : state_(PyEval_SaveThread()) {}
    ~WithoutGil() { restore_thread(state_); }
    WithoutGil(const WithoutGil&) = delete;
    WithoutGil& operator=(const WithoutGil&) = delete;

private:
    PyThreadState* state_;
};

/// An engine object while it is open.
struct Session {
    std::unique_ptr<Handle> engine;
    unsigned users = 0;        ///< native calls in progress; the GIL may be released in them
    std::uint64_t serial = 0;  ///< different for every opening in this process
    int process = 0;           ///< pid that opened it
};

/// The type that a collection is of.
struct Kind {
    const char* name;  ///< "EMDict"
    std::unique_ptr<Handle> (*open)(const std::filesystem::path&, const Options&);
    /// As Options say in a store that is open, or in a snapshot of it; null if the type is no container.
    std::unique_ptr<Handle> (*open_in)(const Handle& where, const Options&);
    /// The present state of one of this kind.
    std::unique_ptr<Handle> (*snapshot)(const Handle& live);
    /// Compares what is stored with the handle's serializer; may be null. Throws FormatError.
    void (*check)(const Handle&, Serializer&);
    PyTypeObject** type;  ///< the class itself
    bool has_max_size = false;
    bool repeats_keys = false;  ///< of a sorted container
    bool has_item_type = false;  ///< dtype and shape instead of picklers
};

/// The kind whose engine is a Raw, made as one of the type that is given, if any.
template <class Raw, auto... type_of_raw>
constexpr Kind kind_of(const char* name, void (*check)(const Handle&, Serializer&), PyTypeObject** type) {
    Kind kind{name, nullptr, nullptr, nullptr, check, type};
    kind.open = [](const std::filesystem::path& path, const Options& options) {
        return std::unique_ptr<Handle>(std::make_unique<Raw>(path, options, type_of_raw...));
    };
    kind.snapshot = [](const Handle& live) {
        return std::unique_ptr<Handle>(new Raw(static_cast<const Raw&>(live).snapshot()));
    };
    if constexpr (std::is_base_of_v<Container, Raw>) {
        kind.open_in = [](const Handle& where, const Options& options) {
            return std::unique_ptr<Handle>(std::make_unique<Raw>(where, options.name, type_of_raw...));
        };
    }
    return kind;
}

class Collection {
public:
    explicit Collection(const Kind& kind);
    /// Warns if it is still open (ResourceWarning), and closes.
    ~Collection();
    Collection(const Collection&) = delete;
    Collection& operator=(const Collection&) = delete;

    /// __init__; RuntimeError if it is open.
    void init(PyObject* args, PyObject* kwargs);
    /// Opens a closed object again, or one that never was open; RuntimeError if it is open.
    void open(PyObject* dirname);
    /// Opens a container of a store that is open. `max_size`: None or, for a deque, an int. `item_type`: None or, for an
    /// array, the pair of its dtype and shape.
    void open_in(const Collection& where, const std::string& name, PyObject* max_size, PyObject* item_type);
    /// Opens the present state of another object of the same kind.
    void open_snapshot(const Collection& live);
    /// Waits for native calls of other threads. Harmless when repeated.
    void close();

    bool is_open() const noexcept { return session_ != nullptr; }
    /// Throws ClosedError.
    Session& session() const {
        if (!session_) [[unlikely]]
            throw_closed();
        return *session_;
    }
    const Serializer& serializer() const noexcept { return *serializers_.back(); }
    const Kind& kind() const noexcept { return kind_; }

    nb::object path() const;
    nb::object mode() const;
    nb::object name() const;
    nb::object state() const;
    void set_state(PyObject* state);

    int traverse(visitproc visit, void* arg) const;
    void clear() noexcept;

private:
    struct Place;

    void init_array(PyObject* args, PyObject* kwargs);
    [[noreturn]] void throw_closed() const;
    void require_closed() const;
    void set_serializer(nb::object pickler, nb::object unpickler, bool allow_pickle);
    void set_memory_limit(PyObject* limit);
    void set_max_size(PyObject* limit);
    static std::optional<ItemType> item_type_of(PyObject* dtype, PyObject* shape);
    static Place choose_place(PyObject* dirname, Mode mode);
    void open_at(const Place& place);
    /// Makes what `make` returns this object's engine.
    void take(const std::function<std::unique_ptr<Handle>()>& make);
    void set_name(PyObject* name, PyObject* at);
    void inherit(const Collection& other);
    void warn_unclosed() noexcept;
    void finish() noexcept;

    const Kind& kind_;
    std::unique_ptr<Session> session_;
    /// The last one counts. Older ones are kept, because their picklers may be running.
    std::vector<std::unique_ptr<Serializer>> serializers_;
    std::filesystem::path path_;  ///< absolute; empty if it never was open
    Options options_;
    bool dependent_ = false;  ///< closed by its store, a snapshot, or sent by a process: nobody is warned
    bool frozen_ = false;     ///< a snapshot that only this process has
};

/// What a str, bytes or path-like object names; TypeError for another.
std::filesystem::path path_of(PyObject* dirname);

/// What a Python index means.
inline Rank rank_of(Py_ssize_t index) noexcept {
    const auto number = static_cast<std::uint64_t>(index);
    return index >= 0 ? Rank(number) : Rank::end_minus(std::uint64_t{0} - number);
}

/// Names the asyncio task that runs; 0 if there is none.
std::uint64_t present_task() noexcept;

/// A function that calls a Python callable with (done, total), for operations without the GIL. Empty for None.
/// REQUIRES: the callable outlives it.
Progress progress_to(PyObject* callable);

/// The native part of one operation: keeps the engine object open. Throws ClosedError.
template <class Raw>
class Use {
public:
    explicit Use(const Collection& collection) : session_(enter(collection)) { ++session_.users; }
    ~Use() { --session_.users; }
    Use(const Use&) = delete;
    Use& operator=(const Use&) = delete;

    Raw& operator*() const noexcept { return static_cast<Raw&>(*session_.engine); }
    Raw* operator->() const noexcept { return &**this; }
    std::uint64_t serial() const noexcept { return session_.serial; }

    /// Calls `action(engine)` without the GIL: for what may take long. It must not touch Python.
    template <class Action>
    auto without_gil(Action&& action) const {
        const WithoutGil released;
        return action(**this);
    }

private:
    /// The session last: asking for the task may run user code, which may close the object.
    static Session& enter(const Collection& collection) {
        if (storage::Store::open_transactions() > 0) [[unlikely]] storage::Caller::set_task(present_task());
        return collection.session();
    }

    Session& session_;
};

/// The instance of a collection type.
struct CollectionObject {
    PyObject_HEAD PyObject* weak_references;
    Collection collection;
};

/// REQUIRES: an instance of a type that make_collection_type() made.
inline Collection& collection_of(PyObject* self) noexcept {
    return reinterpret_cast<CollectionObject*>(self)->collection;
}

struct TypeSpec {
    const char* full_name;             ///< "pyrsistence.EMDict"
    const char* doc;                   ///< "EMDict(dirname, ...)\n--\n\n..."
    unsigned long flags;               ///< Py_TPFLAGS_MAPPING or Py_TPFLAGS_SEQUENCE
    newfunc create;                    ///< &new_collection<kind>
    std::vector<PyType_Slot> slots;    ///< the type's own, without a terminator
    std::vector<PyMethodDef> methods;  ///< the type's own; the shared ones (open, close, sync, ...) are added
    std::vector<PyGetSetDef> properties = {};  ///< likewise
};

/// tp_new of the type of this kind: a closed object.
template <const Kind& kind>
PyObject* new_collection(PyTypeObject* type, PyObject*, PyObject*) noexcept {
    PyObject* self = type->tp_alloc(type, 0);
    if (self == nullptr) return nullptr;
    try {
        new (&collection_of(self)) Collection(kind);
        return self;
    } catch (...) {
        return PyErr_NoMemory();  // and never again touch the memory of `self`
    }
}

/// Makes the type, which lives as long as the process, and adds it to the module.
PyTypeObject* make_collection_type(nb::module_& module, TypeSpec spec);

/// True if `self` belongs to a subclass that overrides the slot's method: then the other methods must call
/// it. For example: overrides(self, type, &PyTypeObject::tp_iter).
template <class Slot>
bool overrides(PyObject* self, PyTypeObject* base, Slot PyTypeObject::* slot) noexcept {
    return Py_TYPE(self) != base && Py_TYPE(self)->*slot != base->*slot;
}
template <class Slot>
bool overrides(PyObject* self, PyTypeObject* base, Slot PyMappingMethods::* slot) noexcept {
    return Py_TYPE(self) != base && Py_TYPE(self)->tp_as_mapping->*slot != base->tp_as_mapping->*slot;
}
template <class Slot>
bool overrides(PyObject* self, PyTypeObject* base, Slot PySequenceMethods::* slot) noexcept {
    return Py_TYPE(self) != base && Py_TYPE(self)->tp_as_sequence->*slot != base->tp_as_sequence->*slot;
}

/// TypeError unless there are so many arguments.
void expect_arguments(const char* method, Py_ssize_t count, Py_ssize_t least, Py_ssize_t most);

/// Makes an iterator type or the like, which lives as long as the process and is not added to the module.
PyTypeObject* make_plain_type(const char* full_name, int size, std::vector<PyType_Slot> slots);

/// Lets signal handlers and other threads run now and then in a long loop: call once per element.
class SignalPoll {
public:
    void step() {
        step([] {});
    }
    /// Calls before() first, where it does so.
    template <class Before>
    void step(Before before) {
        if ((++count_ & 1023) != 0) return;
        before();
        checked(PyErr_CheckSignals());
        const auto now = std::chrono::steady_clock::now();
        if (now - released_ < kTurn) return;
        { const WithoutGil others_may_run; }
        released_ = std::chrono::steady_clock::now();
    }

private:
    /// Longer than the interpreter's switch interval: a waiting thread is only let in after it has asked.
    static constexpr auto kTurn = std::chrono::milliseconds(10);
    unsigned count_ = 0;
    std::chrono::steady_clock::time_point released_ = std::chrono::steady_clock::now();
};

/// Whether this thread has a transaction open, on whatever store.
bool in_transaction();

/// The method transaction() of every collection type.
PyObject* begin_transaction(PyObject* self, PyObject* args, PyObject* kwargs);
/// bind_verify.cpp
PyObject* verify_handle(PyObject* self, PyObject* args, PyObject* kwargs);
extern const char* const kVerifyDoc;

// Each defined in its own file, called by module.cpp in this order.
void bind_dict(nb::module_& module);
void bind_list(nb::module_& module);
void bind_set(nb::module_& module);
void bind_deque(nb::module_& module);
void bind_sorted(nb::module_& module);
void bind_multi_dict(nb::module_& module);
void bind_array(nb::module_& module);
void bind_store(nb::module_& module);
void bind_verify(nb::module_& module);
void bind_codec(nb::module_& module);
void bind_external(nb::module_& module);

}  // namespace pyrsistence::bindings
