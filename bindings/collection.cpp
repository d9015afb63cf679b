#include "bindings/collection.hpp"

#include <cxxabi.h>
#include <structmember.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <thread>
#include <utility>

namespace pyrsistence::bindings {

namespace {

LazyAttribute make_directory{"tempfile", "mkdtemp"};
LazyAttribute decode_path{"os", "fsdecode"};
LazyAttribute make_info{"pyrsistence._support", "Info"};

constexpr std::uint64_t kLeastMemory = std::uint64_t{4} << 20;

struct ModeName {
    const char* name;
    Mode mode;
};
constexpr std::array<ModeName, 5> kModes{{{"r", Mode::read},
                                          {"r+", Mode::read_write},
                                          {"a", Mode::append},
                                          {"w", Mode::truncate},
                                          {"x", Mode::exclusive}}};

const char* name_of(Mode mode) {
    for (const ModeName& entry : kModes) {
        if (entry.mode == mode) return entry.name;
    }
    return "";
}

Mode parse_mode(PyObject* mode) {
    if (PyUnicode_Check(mode)) {
        for (const ModeName& entry : kModes) {
            if (PyUnicode_CompareWithASCIIString(mode, entry.name) == 0) return entry.mode;
        }
    }
    PyErr_Format(PyExc_ValueError, "mode must be 'r', 'r+', 'a', 'w' or 'x', not %R", mode);
    raise_pending();
}

/// What a handle does when it is opened once more: it never empties a store, nor insists on a new one.
Mode reopening(Mode mode) { return mode == Mode::truncate || mode == Mode::exclusive ? Mode::append : mode; }

std::uint64_t next_serial() {
    static std::uint64_t serial = 0;
    return ++serial;
}

std::filesystem::path path_of(PyObject* dirname) {
    PyObject* converted = nullptr;
    if (PyUnicode_FSConverter(dirname, &converted) == 0) raise_pending();
    const nb::object bytes = nb::steal(converted);
    return std::filesystem::path(as_text(bytes_of(bytes.ptr())));
}

void require_method(nb::handle object, const char* argument, const char* method) {
    if (object.is_none() || PyObject_HasAttrString(object.ptr(), method)) return;
    PyErr_Format(PyExc_TypeError, "%s must be None or have a method %s(), not %.200s", argument, method,
                 Py_TYPE(object.ptr())->tp_name);
    raise_pending();
}

/// Keeps a pending Python error while destructors run.
class ErrorKept {
public:
    ErrorKept() { PyErr_Fetch(&type_, &value_, &traceback_); }
    ~ErrorKept() { PyErr_Restore(type_, value_, traceback_); }
    ErrorKept(const ErrorKept&) = delete;
    ErrorKept& operator=(const ErrorKept&) = delete;

private:
    PyObject *type_, *value_, *traceback_;
};

nb::object item(PyObject* dict, const char* key) {
    PyObject* value = PyDict_GetItemString(dict, key);
    return value ? nb::borrow(value) : nb::none();
}

void put(nb::handle dict, const char* key, nb::handle value) {
    checked(PyDict_SetItemString(dict.ptr(), key, value.ptr()));
}

}  // namespace

void restore_thread(PyThreadState* state) noexcept {
    try {
        PyEval_RestoreThread(state);
    } catch (const abi::__forced_unwind&) {
        for (;;) ::pause();
    }
}

struct Collection::Place {
    std::filesystem::path path;
    Mode mode;
    bool temporary;
};

Collection::Collection(const Kind& kind) : kind_(kind) {
    serializers_.push_back(std::make_unique<Serializer>());
}

Collection::~Collection() { finish(); }

void Collection::init(PyObject* args, PyObject* kwargs) {
    static const char* names[] = {"dirname",      "pickler",      "unpickler", "mode",
                                  "allow_pickle", "memory_limit", nullptr};
    PyObject *dirname, *pickler = Py_None, *unpickler = Py_None, *mode = nullptr, *memory_limit = Py_None;
    int allow_pickle = 1;
    const std::string format = std::string("O|OO$OpO:") + kind_.name;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, format.c_str(), const_cast<char**>(names), &dirname,
                                     &pickler, &unpickler, &mode, &allow_pickle, &memory_limit)) {
        raise_pending();
    }
    require_closed();
    options_.mode = mode ? parse_mode(mode) : Mode::append;
    set_memory_limit(memory_limit);
    set_serializer(nb::borrow(pickler), nb::borrow(unpickler), allow_pickle != 0);
    open_at(choose_place(dirname, options_.mode));
}

void Collection::open(PyObject* dirname) {
    require_closed();
    open_at(choose_place(dirname, reopening(options_.mode)));
}

void Collection::close() {
    if (!session_) return;
    const std::unique_ptr<Session> session = std::move(session_);
    while (session->users > 0 && session->process == ::getpid()) {
        const WithoutGil released;
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    const WithoutGil released;
    session->engine->close();
}

void Collection::throw_closed() const {
    if (path_.empty())
        throw ClosedError(std::string("this ") + kind_.name + " was never opened; call open(dirname)");
    throw ClosedError(path_.string() + " is closed; open it again");
}

void Collection::require_closed() const {
    if (session_) raise_runtime_error(std::string(kind_.name) + " already open");
}

void Collection::set_serializer(nb::object pickler, nb::object unpickler, bool allow_pickle) {
    require_method(pickler, "pickler", "pickle");
    require_method(unpickler, "unpickler", "unpickle");
    const Serializer& old = serializer();
    if (old.pickler().is(pickler) && old.unpickler().is(unpickler) && old.allow_pickle() == allow_pickle)
        return;
    serializers_.push_back(
        std::make_unique<Serializer>(std::move(pickler), std::move(unpickler), allow_pickle));
}

void Collection::set_memory_limit(PyObject* limit) {
    options_.memory_limit = 0;
    if (limit == Py_None) return;
    const long long bytes = PyLong_AsLongLong(limit);
    if (bytes == -1 && PyErr_Occurred()) raise_pending();
    if (bytes < static_cast<long long>(kLeastMemory)) {
        raise(PyExc_ValueError, "memory_limit is " + std::to_string(bytes) + " bytes; at least " +
                                    std::to_string(kLeastMemory) + " are needed");
    }
    options_.memory_limit = static_cast<std::uint64_t>(bytes);
}

/// None is a new directory for a store that is removed when it is closed.
Collection::Place Collection::choose_place(PyObject* dirname, Mode mode) {
    if (dirname == Py_None) {
        const nb::object made =
            own(PyObject_CallFunction(make_directory.get(), "zs", nullptr, "pyrsistence-"));
        return {path_of(made.ptr()), Mode::append, true};
    }
    return {path_of(dirname), mode, false};
}

void Collection::open_at(const Place& place) {
    auto session = std::make_unique<Session>();
    Options options = options_;
    options.mode = place.mode;
    options.temporary = place.temporary;
    std::filesystem::path path;
    try {
        if (place.path.empty()) throw StorageError("the path is empty", ENOENT);
        path = std::filesystem::absolute(place.path);
        {
            const WithoutGil released;
            session->engine = kind_.open(path, options);
        }
        if (kind_.check) kind_.check(*session->engine, *serializers_.back());
    } catch (...) {
        std::error_code ignored;
        if (place.temporary) std::filesystem::remove(path, ignored);
        set_python_error(std::string("Cannot open ") + kind_.name + ": ");
        raise_pending();
    }
    if (session_) {  // another thread has opened it meanwhile
        const WithoutGil released;
        session->engine.reset();
    }
    require_closed();
    session->serial = next_serial();
    session->process = ::getpid();
    session_ = std::move(session);
    path_ = std::move(path);
    options_.mode = place.mode;
    options_.temporary = place.temporary;
}

nb::object Collection::path() const {
    if (path_.empty()) return nb::none();
    return decode_path(to_bytes(as_bytes(path_.native())));
}

nb::object Collection::mode() const { return own(PyUnicode_FromString(name_of(options_.mode))); }

nb::object Collection::state() const {
    nb::object state = own(PyDict_New());
    put(state, "path", path());
    put(state, "open", nb::bool_(is_open()));
    put(state, "mode", mode());
    put(state, "process", own(PyLong_FromLong(::getpid())));
    put(state, "pickler", serializer().pickler());
    put(state, "unpickler", serializer().unpickler());
    put(state, "allow_pickle", nb::bool_(serializer().allow_pickle()));
    put(state, "memory_limit", own(PyLong_FromUnsignedLongLong(options_.memory_limit)));
    return state;
}

void Collection::set_state(PyObject* state) {
    if (!PyDict_Check(state))
        raise(PyExc_TypeError, "the state must be a dict, as __getstate__() returns it");
    require_closed();
    const nb::object path = item(state, "path");
    set_serializer(item(state, "pickler"), item(state, "unpickler"), item(state, "allow_pickle").is(Py_True));
    const nb::object limit = item(state, "memory_limit");
    set_memory_limit(PyObject_IsTrue(limit.ptr()) == 1 ? limit.ptr() : Py_None);
    const nb::object process = item(state, "process");
    const bool here = PyLong_Check(process.ptr()) && PyLong_AsLong(process.ptr()) == ::getpid();
    const Mode mode = parse_mode(item(state, "mode").ptr());
    options_.mode = here && mode != Mode::read ? Mode::read_write : Mode::read;
    if (path.is_none()) return;
    if (item(state, "open").is(Py_True)) open_at({path_of(path.ptr()), options_.mode, false});
    else path_ = path_of(path.ptr());
}

int Collection::traverse(visitproc visit, void* arg) const {
    for (const auto& serializer : serializers_) {
        if (const int status = serializer->traverse(visit, arg)) return status;
    }
    return 0;
}

void Collection::clear() noexcept {
    finish();
    for (const auto& serializer : serializers_) serializer->clear();
}

void Collection::warn_unclosed() noexcept {
    if (options_.temporary || session_->process != ::getpid()) return;
    const char* text = path_.c_str();
    if (PyErr_WarnFormat(PyExc_ResourceWarning, 1, "unclosed %s '%s': call close() or use 'with'", kind_.name,
                         text) < 0) {
        PyErr_WriteUnraisable(nullptr);
    }
}

/// The end of an object that its user did not close.
void Collection::finish() noexcept {
    if (!session_) return;
    const ErrorKept kept;
    warn_unclosed();
    try {
        close();
    } catch (...) {
        set_python_error();
        PyErr_WriteUnraisable(nullptr);
    }
}

// --- what every collection type has

namespace {

using Engine = Use<Container>;

int init(PyObject* self, PyObject* args, PyObject* kwargs) {
    collection_of(self).init(args, kwargs);
    return 0;
}

PyObject* open(PyObject* self, PyObject* dirname) {
    collection_of(self).open(dirname);
    Py_RETURN_TRUE;
}

PyObject* close(PyObject* self, PyObject*) {
    collection_of(self).close();
    Py_RETURN_NONE;
}

PyObject* sync(PyObject* self, PyObject*) {
    Engine(collection_of(self)).without_gil([](Container& engine) { engine.sync(); });
    Py_RETURN_NONE;
}

PyObject* checkpoint(PyObject* self, PyObject*) {
    Engine(collection_of(self)).without_gil([](Container& engine) { engine.checkpoint(); });
    Py_RETURN_NONE;
}

PyObject* compact(PyObject* self, PyObject*) {
    Engine(collection_of(self)).without_gil([](Container& engine) { engine.compact(); });
    Py_RETURN_NONE;
}

PyObject* check(PyObject* self, PyObject*) {
    Engine(collection_of(self)).without_gil([](Container& engine) { engine.check(); });
    Py_RETURN_NONE;
}

PyObject* enter(PyObject* self, PyObject*) {
    (void)collection_of(self).session();
    return Py_NewRef(self);
}

/// A subclass may have its own close().
PyObject* exit(PyObject* self, PyObject*) {
    (void)own(PyObject_CallMethod(self, "close", nullptr));
    Py_RETURN_NONE;
}

PyObject* get_state(PyObject* self, PyObject*) {
    nb::object state = collection_of(self).state();
    const nb::object attributes = nb::steal(PyObject_GetAttrString(self, "__dict__"));
    if (!attributes.is_valid()) PyErr_Clear();
    else if (PyDict_Check(attributes.ptr()) && PyDict_Size(attributes.ptr()) > 0)
        put(state, "attributes", attributes);
    return state.release().ptr();
}

PyObject* set_state(PyObject* self, PyObject* state) {
    collection_of(self).set_state(state);
    const nb::object attributes = item(state, "attributes");
    if (attributes.is_none()) Py_RETURN_NONE;
    const nb::object own_attributes = own(PyObject_GetAttrString(self, "__dict__"));
    checked(PyDict_Update(own_attributes.ptr(), attributes.ptr()));
    Py_RETURN_NONE;
}

PyObject* refuse_copy(PyObject* self, PyObject*) {
    PyErr_Format(
        PyExc_TypeError,
        "%s is a directory, which the copy module cannot copy: copy() makes a temporary copy, update() or "
        "extend() fills one of your own",
        Py_TYPE(self)->tp_name);
    return nullptr;
}

PyObject* get_closed(PyObject* self, void*) { return PyBool_FromLong(!collection_of(self).is_open()); }
PyObject* get_path(PyObject* self, void*) { return collection_of(self).path().release().ptr(); }
PyObject* get_mode(PyObject* self, void*) { return collection_of(self).mode().release().ptr(); }

PyObject* get_info(PyObject* self, void*) {
    const Info info = Engine(collection_of(self))->info();
    return PyObject_CallFunction(make_info.get(), "KKKKKKKK", info.entries, info.data_bytes, info.log_bytes,
                                 info.pages, info.live_pages, info.checkpoint, info.frame_bytes,
                                 info.memory_limit);
}

int traverse(PyObject* self, visitproc visit, void* arg) {
    Py_VISIT(Py_TYPE(self));
    return collection_of(self).traverse(visit, arg);
}

int clear(PyObject* self) {
    collection_of(self).clear();
    return 0;
}

void destroy(PyObject* self) {
    PyTypeObject* type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    if (reinterpret_cast<CollectionObject*>(self)->weak_references != nullptr) PyObject_ClearWeakRefs(self);
    collection_of(self).~Collection();
    type->tp_free(self);
    Py_DECREF(type);
}

constexpr const char* kOpenDoc = R"(open($self, dirname, /)
--

Open a closed handle again, with the picklers it has; return True.

A handle made with mode "w" or "x" opens as "a" does: nothing is emptied. RuntimeError if it is open.
Takes milliseconds at any size, plus the replay of the log after a crash.

>>> import pyrsistence, tempfile, os
>>> path = os.path.join(tempfile.mkdtemp(), "d")
>>> d = pyrsistence.EMDict(path)
>>> d.close()
>>> d.open(path)
True
>>> d.close())";

constexpr const char* kCloseDoc = R"(close($self, /)
--

Make everything durable and close the handle; closing it again does nothing.

After it has returned, everything survives a power failure. Waits for calls of other threads that are in
progress. Raises StorageError if the disk refuses; the log keeps everything then.

>>> import pyrsistence
>>> d = pyrsistence.EMDict(None)
>>> d.close(), d.closed
(None, True))";

constexpr const char* kSyncDoc = R"(sync($self, /)
--

Make every operation so far survive a power failure, too: one fdatasync of the log.

Not needed for the death of the process: that an operation survives as soon as it has returned.
Raises StorageError if the disk refuses.

>>> import pyrsistence
>>> with pyrsistence.EMDict(None) as d:
...     d[1] = 2
...     d.sync())";

constexpr const char* kCheckpointDoc = R"(checkpoint($self, /)
--

Write all changes to the data file and empty the log, so that the next opening replays nothing.

Happens by itself whenever the log is full and on close. Raises ReadOnlyError or StorageError.

>>> import pyrsistence
>>> with pyrsistence.EMDict(None) as d:
...     d[1] = 2
...     d.checkpoint()
...     d.info.log_bytes
0)";

constexpr const char* kCompactDoc = R"(compact($self, /)
--

Give the free space inside the data file back to the file system: move what lies at its end to free places.

Space that deleted and replaced entries leave is used again by itself, and a free end of the file is cut off;
this closes the gaps in between. Other threads go on meanwhile. Takes time in proportion to the pages moved.
Durable when it returns. Raises ReadOnlyError or StorageError.

>>> import pyrsistence
>>> with pyrsistence.EMDict(None) as d:
...     d.update((i, "x" * 100) for i in range(10_000))
...     for i in range(9_000):
...         del d[i]
...     d.compact()
...     d.info.data_bytes < 1_000_000
True)";

#define PYRSISTENCE_VERIFY_DOC(name)                                                                         \
    name "($self, /)\n--\n\n"                                                                                \
         "Read the whole store and prove that it is sound; raise CorruptionError, naming file and page, if " \
         "not.\n\n"                                                                                          \
         "Takes time in proportion to the size of the store. Never unpickles anything. "                      \
         "check() and verify() are two names for it.\n\n"                                                   \
         ">>> import pyrsistence\n"                                                                          \
         ">>> with pyrsistence.EMDict(None) as d:\n"                                                         \
         "...     d." name "()"

constexpr const char* kEnterDoc = R"(__enter__($self, /)
--

Return the handle itself; leaving the block closes it.)";

constexpr const char* kGetStateDoc = R"(__getstate__($self, /)
--

What pickle keeps of the handle: its path, picklers and options, never the content.)";

constexpr const char* kSetStateDoc = R"(__setstate__($self, state, /)
--

Open the store that __getstate__ described: read-only in another process.)";

const PyMethodDef kMethods[] = {
    {"open", guarded<&open>, METH_O, kOpenDoc},
    {"close", guarded<&close>, METH_NOARGS, kCloseDoc},
    {"sync", guarded<&sync>, METH_NOARGS, kSyncDoc},
    {"checkpoint", guarded<&checkpoint>, METH_NOARGS, kCheckpointDoc},
    {"compact", guarded<&compact>, METH_NOARGS, kCompactDoc},
    {"check", guarded<&check>, METH_NOARGS, PYRSISTENCE_VERIFY_DOC("check")},
    {"verify", guarded<&check>, METH_NOARGS, PYRSISTENCE_VERIFY_DOC("verify")},
    {"__enter__", guarded<&enter>, METH_NOARGS, kEnterDoc},
    {"__exit__", guarded<&exit>, METH_VARARGS, "__exit__($self, /, *args)\n--\n\nClose the handle."},
    {"__getstate__", guarded<&get_state>, METH_NOARGS, kGetStateDoc},
    {"__setstate__", guarded<&set_state>, METH_O, kSetStateDoc},
    {"__copy__", guarded<&refuse_copy>, METH_NOARGS, nullptr},
    {"__deepcopy__", guarded<&refuse_copy>, METH_O, nullptr},
    {"__class_getitem__", &Py_GenericAlias, METH_O | METH_CLASS, "For type hints: EMDict[str, int]."},
};

PyGetSetDef properties[] = {
    {"closed", guarded<&get_closed>, nullptr, "True if the handle is closed.", nullptr},
    {"path", guarded<&get_path>, nullptr, "The store's directory, absolute; None if never opened.", nullptr},
    {"mode", guarded<&get_mode>, nullptr, "The mode it was opened with.", nullptr},
    {"info", guarded<&get_info>, nullptr, "Figures of the store: an Info. O(1).", nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr},
};

/// The list of weak references follows the head of the object.
PyMemberDef members[] = {
    {"__weaklistoffset__", T_PYSSIZET, sizeof(PyObject), READONLY, nullptr},
    {nullptr, 0, 0, 0, nullptr},
};

template <class Function>
void* slot(Function* function) {
    return reinterpret_cast<void*>(function);
}

PyTypeObject* make_type(const char* name, int size, unsigned long flags, std::vector<PyType_Slot>& slots) {
    slots.push_back({0, nullptr});
    PyType_Spec spec{name, size, 0, static_cast<unsigned>(Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | flags),
                     slots.data()};
    return reinterpret_cast<PyTypeObject*>(own(PyType_FromSpec(&spec)).release().ptr());
}

/// A method table must live as long as its type.
PyMethodDef* keep(std::vector<PyMethodDef> methods) {
    methods.insert(methods.end(), std::begin(kMethods), std::end(kMethods));
    methods.push_back({nullptr, nullptr, 0, nullptr});
    return (new std::vector<PyMethodDef>(std::move(methods)))->data();
}

}  // namespace

PyTypeObject* make_collection_type(nb::module_& module, TypeSpec spec) {
    std::vector<PyType_Slot> slots = std::move(spec.slots);
    slots.insert(slots.end(), {{Py_tp_new, slot(spec.create)},
                               {Py_tp_init, slot(guarded<&init>)},
                               {Py_tp_dealloc, slot(&destroy)},
                               {Py_tp_traverse, slot(&traverse)},
                               {Py_tp_clear, slot(&clear)},
                               {Py_tp_hash, slot(&PyObject_HashNotImplemented)},
                               {Py_tp_doc, const_cast<char*>(spec.doc)},
                               {Py_tp_methods, keep(std::move(spec.methods))},
                               {Py_tp_getset, properties},
                               {Py_tp_members, members}});
    PyTypeObject* type =
        make_type(spec.full_name, sizeof(CollectionObject), spec.flags | Py_TPFLAGS_BASETYPE, slots);
    checked(PyModule_AddType(module.ptr(), type));
    return type;
}

PyTypeObject* make_plain_type(const char* full_name, int size, std::vector<PyType_Slot> slots) {
    return make_type(full_name, size, 0, slots);
}

}  // namespace pyrsistence::bindings
