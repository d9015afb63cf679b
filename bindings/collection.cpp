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
LazyAttribute parse_item_type{"pyrsistence._array", "item_type"};
LazyAttribute running_loop{"asyncio.events", "_get_running_loop"};
LazyAttribute running_task{"asyncio.tasks", "current_task"};

/// Calls of progress functions that this thread is in.
thread_local int progress_depth = 0;

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

void require_method(nb::handle object, const char* argument, const char* method) {
    if (object.is_none() || PyObject_HasAttrString(object.ptr(), method)) return;
    PyErr_Format(PyExc_TypeError, "%s must be None or have a method %s(), not %.200s; content is added by update(), extend() or the like",
                 argument, method, Py_TYPE(object.ptr())->tp_name);
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

/// Whether the program has imported a module.
bool own_module(const char* name) {
    const nb::object text = own(PyUnicode_FromString(name));
    return nb::steal(PyImport_GetModule(text.ptr())).is_valid();
}

nb::object item(PyObject* dict, const char* key) {
    PyObject* value = PyDict_GetItemString(dict, key);
    return value ? nb::borrow(value) : nb::none();
}

void put(nb::handle dict, const char* key, nb::handle value) {
    checked(PyDict_SetItemString(dict.ptr(), key, value.ptr()));
}

}  // namespace

std::uint64_t present_task() noexcept {
    try {
        if (!own_module("asyncio")) return 0;
        const nb::object loop = running_loop();
        if (loop.is_none()) return 0;
        return reinterpret_cast<std::uintptr_t>(running_task(loop).ptr());
    } catch (nb::python_error&) {
        return 0;
    }
}

std::filesystem::path path_of(PyObject* dirname) {
    PyObject* converted = nullptr;
    if (PyUnicode_FSConverter(dirname, &converted) == 0) raise_pending();
    const nb::object bytes = nb::steal(converted);
    return std::filesystem::path(as_text(bytes_of(bytes.ptr())));
}

Progress progress_to(PyObject* callable) {
    if (callable == Py_None) return {};
    if (!PyCallable_Check(callable)) {
        raise(PyExc_TypeError, std::string("progress must be callable or None, not ") + Py_TYPE(callable)->tp_name);
    }
    return [callable](std::uint64_t done, std::uint64_t total) {
        const nb::gil_scoped_acquire held;
        struct Depth {
            Depth() { ++progress_depth; }
            ~Depth() { --progress_depth; }
        } const depth;
        (void)own(PyObject_CallFunction(callable, "KK", done, total));
    };
}

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
    // A store has no name in itself.
    if (kind_.has_item_type) return init_array(args, kwargs);
    const char* names[] = {"dirname", "pickler", "unpickler", "mode", "allow_pickle", "memory_limit", "at",
                           kind_.open_in ? "name" : nullptr, kind_.has_max_size ? "maxlen" : nullptr, nullptr};
    PyObject *dirname, *pickler = Py_None, *unpickler = Py_None, *mode = nullptr, *memory_limit = Py_None;
    PyObject *name = Py_None, *at = Py_None, *max_size = Py_None;
    int allow_pickle = 1;
    const char* more = kind_.has_max_size ? "OO:" : kind_.open_in ? "O:" : ":";
    const std::string format = std::string("O|OO$OpOO") + more + kind_.name;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, format.c_str(), const_cast<char**>(names), &dirname, &pickler,
                                     &unpickler, &mode, &allow_pickle, &memory_limit, &at, &name, &max_size)) {
        raise_pending();
    }
    require_closed();
    options_.mode = mode ? parse_mode(mode) : Mode::append;
    set_name(name, at);
    set_memory_limit(memory_limit);
    set_max_size(max_size);
    set_serializer(nb::borrow(pickler), nb::borrow(unpickler), allow_pickle != 0);
    open_at(choose_place(dirname, options_.mode));
}

void Collection::init_array(PyObject* args, PyObject* kwargs) {
    static const char* names[] = {"dirname", "dtype", "shape", "mode", "memory_limit", "at", "name", nullptr};
    PyObject *dirname, *dtype = Py_None, *shape = nullptr, *mode = nullptr, *memory_limit = Py_None;
    PyObject *at = Py_None, *name = Py_None;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|OO$OOOO:EMArray", const_cast<char**>(names), &dirname, &dtype, &shape,
                                     &mode, &memory_limit, &at, &name)) {
        raise_pending();
    }
    require_closed();
    options_.item_type = item_type_of(dtype, shape);
    options_.mode = mode ? parse_mode(mode) : Mode::append;
    set_name(name, at);
    set_memory_limit(memory_limit);
    open_at(choose_place(dirname, options_.mode));
}

void Collection::open(PyObject* dirname) {
    require_closed();
    open_at(choose_place(dirname, reopening(options_.mode)));
}

void Collection::close() {
    if (!session_) return;
    // Calls that wait for this thread would never end.
    if (session_->users > 0 && session_->process == ::getpid() && (progress_depth > 0 || in_transaction())) {
        throw Error(path_.string() + " is in use by calls that may be waiting for this thread; close it when its "
                    "transaction, or the function that reports progress, has ended");
    }
    // The container may have been renamed; open() is to find it again. A transaction may yet take that back.
    if (kind_.open_in && !in_transaction()) options_.name = static_cast<Container&>(*session_->engine).name();
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

void Collection::set_max_size(PyObject* limit) {
    options_.max_size.reset();
    if (limit == Py_None) return;
    const Py_ssize_t size = PyNumber_AsSsize_t(limit, PyExc_OverflowError);
    if (size == -1 && PyErr_Occurred()) raise_pending();
    if (size < 0) raise(PyExc_ValueError, "maxlen must be non-negative, not " + std::to_string(size));
    options_.max_size = static_cast<std::uint64_t>(size);
}

/// Nothing if dtype is None. `shape` may be null. Runs user code.
std::optional<ItemType> Collection::item_type_of(PyObject* dtype, PyObject* shape) {
    const nb::object parts = parse_item_type(nb::handle(dtype), shape ? nb::borrow(shape) : own(PyTuple_New(0)));
    if (parts.is_none()) return std::nullopt;
    ItemType type;
    PyObject *text, *dimensions;
    unsigned long long size;
    if (!PyArg_ParseTuple(parts.ptr(), "KUO!", &size, &text, &PyTuple_Type, &dimensions)) raise_pending();
    type.size = size;
    type.dtype = text_of(text);
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(dimensions); ++i) {
        type.shape.push_back(PyLong_AsUnsignedLongLong(PyTuple_GET_ITEM(dimensions, i)));
        if (PyErr_Occurred()) raise_pending();
    }
    return type;
}

void Collection::set_name(PyObject* name, PyObject* at) {
    const auto text = [](PyObject* object, const char* argument) -> std::string {
        if (object == Py_None) return {};
        if (!PyUnicode_Check(object)) {
            raise(PyExc_TypeError, std::string(argument) + " must be a str or None, not " + Py_TYPE(object)->tp_name);
        }
        return text_of(object);
    };
    options_.name = text(name, "name");
    options_.at = text(at, "at");
    if (at == Py_None) return;
    if (options_.at.empty()) {
        raise(PyExc_ValueError, "at is empty; give the name of a snapshot, or None for the present state");
    }
    options_.mode = Mode::read;
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

void Collection::take(const std::function<std::unique_ptr<Handle>()>& make) {
    auto session = std::make_unique<Session>();
    {
        const WithoutGil released;
        session->engine = make();
    }
    if (kind_.check) kind_.check(*session->engine, *serializers_.back());
    if (session_) {  // another thread has opened it meanwhile
        const WithoutGil released;
        session->engine.reset();
    }
    require_closed();
    session->serial = next_serial();
    session->process = ::getpid();
    session_ = std::move(session);
}

void Collection::open_at(const Place& place) {
    Options options = options_;
    options.mode = place.mode;
    options.temporary = place.temporary;
    std::filesystem::path path;
    try {
        if (place.path.empty()) throw StorageError("the path is empty", ENOENT);
        path = std::filesystem::absolute(place.path);
        take([&] { return kind_.open(path, options); });
    } catch (...) {
        std::error_code ignored;
        if (place.temporary) std::filesystem::remove(path, ignored);
        if (session_) throw;
        set_python_error(std::string("Cannot open ") + kind_.name + ": ");
        raise_pending();
    }
    path_ = std::move(path);
    dependent_ = frozen_ = false;
    options_.mode = place.mode;
    options_.temporary = place.temporary;
}

void Collection::inherit(const Collection& other) {
    const Serializer& model = other.serializer();
    set_serializer(model.pickler(), model.unpickler(), model.allow_pickle());
    path_ = other.path_;
    options_ = other.options_;
    options_.mode = reopening(options_.mode);
}

void Collection::open_in(const Collection& where, const std::string& name, PyObject* max_size, PyObject* item_type) {
    require_closed();
    PyObject *dtype = Py_None, *shape = nullptr;
    if (item_type != Py_None && !PyArg_ParseTuple(item_type, "OO", &dtype, &shape)) raise_pending();
    std::optional<ItemType> type = kind_.has_item_type ? item_type_of(dtype, shape) : std::nullopt;
    const Use<Handle> engine(where);
    inherit(where);
    options_.name = name;
    set_max_size(max_size);
    options_.item_type = std::move(type);
    dependent_ = true;
    frozen_ = where.frozen_;
    take([&] { return kind_.open_in(*engine, options_); });
}

void Collection::open_snapshot(const Collection& live) {
    require_closed();
    const Use<Handle> engine(live);
    inherit(live);
    options_.mode = Mode::read;
    dependent_ = frozen_ = true;
    take([&] { return kind_.snapshot(*engine); });
}

nb::object Collection::path() const {
    if (path_.empty()) return nb::none();
    return decode_path(to_bytes(as_bytes(path_.native())));
}

nb::object Collection::name() const {
    return to_text(session_ && kind_.open_in ? Use<Container>(*this)->name() : options_.name);
}

nb::object Collection::mode() const { return own(PyUnicode_FromString(name_of(options_.mode))); }

nb::object Collection::state() const {
    if (storing_value()) {
        raise(PyExc_TypeError, std::string("a value cannot hold an ") + kind_.name + ", which lives in a store of its own; store a copy of its "
                               "content, or keep both as containers of one Store and put its name into the value");
    }
    if (frozen_) {
        raise(PyExc_TypeError, std::string("this ") + kind_.name + " is a snapshot, which no other process can open; "
                               "keep it under a name (snapshots.create(name)) and open that with at=name");
    }
    // Who opens the store with this state elsewhere is to see what has been done here.
    if (session_) Use<Handle>(*this).without_gil([](Handle& engine) { engine.publish(); });
    nb::object state = own(PyDict_New());
    put(state, "path", path());
    put(state, "name", name());
    put(state, "at", options_.at.empty() ? nb::none() : to_text(options_.at));
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
    set_name(item(state, "name").ptr(), item(state, "at").ptr());
    if (path.is_none()) return;
    if (item(state, "open").is(Py_True)) open_at({path_of(path.ptr()), options_.mode, false});
    else path_ = path_of(path.ptr());
    dependent_ = !here;  // arguments of a function in a worker process are closed when it drops them
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
    if (options_.temporary || dependent_ || session_->process != ::getpid()) return;
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

using Engine = Use<Handle>;

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
    Engine(collection_of(self)).without_gil([](Handle& engine) { engine.sync(); });
    Py_RETURN_NONE;
}

PyObject* checkpoint(PyObject* self, PyObject*) {
    Engine(collection_of(self)).without_gil([](Handle& engine) { engine.checkpoint(); });
    Py_RETURN_NONE;
}

/// The one optional argument `progress`.
PyObject* parse_progress(PyObject* args, PyObject* kwargs, const char* format) {
    static const char* names[] = {"progress", nullptr};
    PyObject* progress = Py_None;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, format, const_cast<char**>(names), &progress)) raise_pending();
    return progress;
}

PyObject* compact(PyObject* self, PyObject* args, PyObject* kwargs) {
    const Progress progress = progress_to(parse_progress(args, kwargs, "|$O:compact"));
    Engine(collection_of(self)).without_gil([&](Handle& engine) { engine.compact(progress); });
    Py_RETURN_NONE;
}

PyObject* backup(PyObject* self, PyObject* args, PyObject* kwargs) {
    static const char* names[] = {"path", "progress", nullptr};
    PyObject *to, *callable = Py_None;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|$O:backup", const_cast<char**>(names), &to, &callable)) {
        raise_pending();
    }
    const std::filesystem::path path = path_of(to);
    const Progress progress = progress_to(callable);
    Engine(collection_of(self)).without_gil([&](Handle& engine) { engine.backup(path, progress); });
    Py_RETURN_NONE;
}

PyObject* refresh(PyObject* self, PyObject*) {
    Engine(collection_of(self)).without_gil([](Handle& engine) { engine.refresh(); });
    Py_RETURN_NONE;
}

/// A class method: the present state of another object of this kind.
PyObject* open_snapshot(PyObject* type, PyObject* live) {
    auto* const made_of = reinterpret_cast<PyTypeObject*>(type);
    nb::object made = own(made_of->tp_new(made_of, nullptr, nullptr));
    collection_of(made.ptr()).open_snapshot(collection_of(live));
    return made.release().ptr();
}

PyObject* snapshot(PyObject* self, PyObject*) {
    return open_snapshot(reinterpret_cast<PyObject*>(*collection_of(self).kind().type), self);
}

/// A class method: a container of a store that is open.
PyObject* open_in(PyObject* type, PyObject* args) {
    PyObject *store, *name, *max_size = Py_None, *item_type = Py_None;
    if (!PyArg_ParseTuple(args, "OU|OO:_open_in", &store, &name, &max_size, &item_type)) raise_pending();
    auto* const made_of = reinterpret_cast<PyTypeObject*>(type);
    nb::object made = own(made_of->tp_new(made_of, nullptr, nullptr));
    collection_of(made.ptr()).open_in(collection_of(store), text_of(name), max_size, item_type);
    return made.release().ptr();
}

PyObject* keep_snapshot(PyObject* self, PyObject* name) {
    const std::string text = text_of(name);
    Engine(collection_of(self)).without_gil([&](Handle& engine) { engine.keep_snapshot(text); });
    Py_RETURN_NONE;
}

PyObject* delete_snapshot(PyObject* self, PyObject* name) {
    const std::string text = text_of(name);
    return PyBool_FromLong(Engine(collection_of(self)).without_gil([&](Handle& engine) {
        return engine.delete_snapshot(text);
    }));
}

PyObject* list_snapshots(PyObject* self, PyObject*) {
    const nb::object list = own(PyList_New(0));
    for (const NamedSnapshot& one : Engine(collection_of(self))->snapshots()) {
        const nb::object entry = own(Py_BuildValue("(OKK)", to_text(one.name).ptr(), one.created, one.checkpoint));
        checked(PyList_Append(list.ptr(), entry.ptr()));
    }
    return Py_NewRef(list.ptr());
}

PyObject* check(PyObject* self, PyObject*) {
    Engine(collection_of(self)).without_gil([](Handle& engine) { engine.check(); });
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

/// (entries, bytes, depth, fill). REQUIRES: a container.
PyObject* usage(PyObject* self, PyObject*) {
    const Usage found = Use<Container>(collection_of(self)).without_gil([](const Container& engine) { return engine.usage(); });
    return Py_BuildValue("(KKId)", found.entries, found.bytes, found.depth, found.fill);
}

PyObject* get_state(PyObject* self, PyObject*) {
    nb::object state = collection_of(self).state();
    const nb::object attributes = nb::steal(PyObject_GetAttrString(self, "__dict__"));
    if (!attributes.is_valid()) PyErr_Clear();
    else if (PyDict_Check(attributes.ptr()) && PyDict_Size(attributes.ptr()) > 0)
        put(state, "attributes", attributes);
    return state.release().ptr();
}

/// (pickler, unpickler, allow_pickle), for a collection that is to store the same objects.
PyObject* picklers(PyObject* self, PyObject*) {
    const Serializer& serializer = collection_of(self).serializer();
    return Py_BuildValue("(OOO)", serializer.pickler().ptr(), serializer.unpickler().ptr(),
                         serializer.allow_pickle() ? Py_True : Py_False);
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

/// How long ago a moment was, in seconds; 0 if there was none.
double seconds_since(std::uint64_t microseconds) {
    if (microseconds == 0) return 0;
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    return std::chrono::duration<double>(now - std::chrono::microseconds(microseconds)).count();
}

PyObject* get_info(PyObject* self, void*) {
    const Info info = Engine(collection_of(self))->info();
    return PyObject_CallFunction(make_info.get(), "KKKKKKKKKKdK", info.entries, info.data_bytes, info.log_bytes,
                                 info.pages, info.live_pages, info.checkpoint, info.frame_bytes, info.memory_limit,
                                 info.snapshots, info.readers, seconds_since(info.oldest_reader), info.pages_read);
}

PyObject* get_name(PyObject* self, void*) { return collection_of(self).name().release().ptr(); }

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

constexpr const char* kCompactDoc = R"(compact($self, /, *, progress=None)
--

Give the free space inside the data file back to the file system: move what lies at its end to free places.

Space that deleted and replaced entries leave is used again by itself, and a free end of the file is cut off;
this closes the gaps in between. Other threads go on meanwhile. Takes time in proportion to the pages moved.
Durable when it returns. Snapshots keep what they need. progress: called as progress(entries_done,
entries_of_the_container) now and then. Raises ReadOnlyError or StorageError.

>>> import pyrsistence
>>> with pyrsistence.EMDict(None) as d:
...     d.update((i, "x" * 100) for i in range(10_000))
...     for i in range(9_000):
...         del d[i]
...     d.compact()
...     d.info.data_bytes < 1_000_000
True)";

constexpr const char* kCheckDoc = R"(check($self, /)
--

Prove that the store is sound as it is now, in memory and on disk; raise CorruptionError at the first fault.

Others wait meanwhile; verify() does not make them wait and reports every fault. Never unpickles anything.
Takes time in proportion to the size of the store.

>>> import pyrsistence
>>> with pyrsistence.EMDict(None) as d:
...     d.check())";

constexpr const char* kBackupDoc = R"(backup($self, /, path, *, progress=None)
--

Copy the whole store, as it is now, into a new or empty directory, while others go on.

The copy is a store of its own, durable when this returns, with the named snapshots of this one. Raises
ExistsError if there is something at the path, StorageError if the disk refuses; then nothing is left there
that opens as a store. progress: called as progress(pages_done, pages_in_all) now and then.

>>> import pyrsistence, tempfile, os
>>> path = os.path.join(tempfile.mkdtemp(), "copy")
>>> with pyrsistence.EMDict(None) as d:
...     d["answer"] = 42
...     d.backup(path)
>>> with pyrsistence.EMDict(path) as copy:
...     copy["answer"]
42)";

constexpr const char* kSnapshotDoc = R"(snapshot($self, /)
--

Return the present state as a read-only object of the same kind, which stays as it is. O(1).

Beside a transaction of another thread, or within one, it is the state before the transaction. What is
changed later takes space until the snapshot is closed.

>>> import pyrsistence
>>> with pyrsistence.EMDict(None) as d:
...     d["a"] = 1
...     with d.snapshot() as before:
...         d["a"] = 2
...         before["a"], d["a"]
(1, 2))";

constexpr const char* kRefreshDoc = R"(refresh($self, /)
--

Mode "r" beside a writer in another process: go on to the present state, which the writer is asked for.

If the writer does not answer at once (it is stopped), the last state that it has let others see is taken.
In the process that writes the store there is nothing to do. All handles of this process on the store see the
new state; snapshots stay as they are.

>>> import pyrsistence
>>> with pyrsistence.EMDict(None) as d:
...     d.refresh())";

constexpr const char* kTransactionDoc = R"(transaction($self, /, *, durable=True)
--

Return a context manager: everything that this thread changes in the store in its block happens, or nothing.

An exception in the block undoes all of it, on all containers of the store, and is passed on. Within another
transaction it is a savepoint. Other threads go on reading the state before it, and wait when they write;
other tasks of the same thread are refused. Large transactions are fine.

durable: True makes it survive a power failure when the block ends; False only the death of the process.

>>> import pyrsistence
>>> with pyrsistence.EMDict(None) as d:
...     d["a"] = 1
...     try:
...         with d.transaction():
...             d["a"] = 2
...             d["b"] = 1 / 0
...     except ZeroDivisionError:
...         print(dict(d))
{'a': 1})";

constexpr const char* kEnterDoc = R"(__enter__($self, /)
--

Return the handle itself; leaving the block closes it.)";

constexpr const char* kGetStateDoc = R"(__getstate__($self, /)
--

What pickle keeps of the handle: its path, picklers and options, never the content.)";

constexpr const char* kSetStateDoc = R"(__setstate__($self, state, /)
--

Open the store that __getstate__ described: read-only in another process.)";

template <class Function>
PyCFunction with_keywords(Function* function) {
    return reinterpret_cast<PyCFunction>(reinterpret_cast<void*>(function));
}

const PyMethodDef kMethods[] = {
    {"open", guarded<&open>, METH_O, kOpenDoc},
    {"close", guarded<&close>, METH_NOARGS, kCloseDoc},
    {"sync", guarded<&sync>, METH_NOARGS, kSyncDoc},
    {"checkpoint", guarded<&checkpoint>, METH_NOARGS, kCheckpointDoc},
    {"compact", with_keywords(guarded<&compact>), METH_VARARGS | METH_KEYWORDS, kCompactDoc},
    {"check", guarded<&check>, METH_NOARGS, kCheckDoc},
    {"verify", with_keywords(guarded<&verify_handle>), METH_VARARGS | METH_KEYWORDS, kVerifyDoc},
    {"backup", with_keywords(guarded<&backup>), METH_VARARGS | METH_KEYWORDS, kBackupDoc},
    {"snapshot", guarded<&snapshot>, METH_NOARGS, kSnapshotDoc},
    {"refresh", guarded<&refresh>, METH_NOARGS, kRefreshDoc},
    {"transaction", with_keywords(guarded<&begin_transaction>), METH_VARARGS | METH_KEYWORDS, kTransactionDoc},
    {"_open_in", guarded<&open_in>, METH_VARARGS | METH_CLASS, nullptr},
    {"_open_snapshot", guarded<&open_snapshot>, METH_O | METH_CLASS, nullptr},
    {"_usage", guarded<&usage>, METH_NOARGS, nullptr},
    {"_keep_snapshot", guarded<&keep_snapshot>, METH_O, nullptr},
    {"_delete_snapshot", guarded<&delete_snapshot>, METH_O, nullptr},
    {"_list_snapshots", guarded<&list_snapshots>, METH_NOARGS, nullptr},
    {"__enter__", guarded<&enter>, METH_NOARGS, kEnterDoc},
    {"__exit__", guarded<&exit>, METH_VARARGS, "__exit__($self, /, *args)\n--\n\nClose the handle."},
    {"_picklers", guarded<&picklers>, METH_NOARGS, nullptr},
    {"__getstate__", guarded<&get_state>, METH_NOARGS, kGetStateDoc},
    {"__setstate__", guarded<&set_state>, METH_O, kSetStateDoc},
    {"__copy__", guarded<&refuse_copy>, METH_NOARGS, nullptr},
    {"__deepcopy__", guarded<&refuse_copy>, METH_O, nullptr},
    {"__class_getitem__", &Py_GenericAlias, METH_O | METH_CLASS, "For type hints: EMDict[str, int]."},
};

const PyGetSetDef kProperties[] = {
    {"closed", guarded<&get_closed>, nullptr, "True if the handle is closed.", nullptr},
    {"path", guarded<&get_path>, nullptr, "The store's directory, absolute; None if never opened.", nullptr},
    {"name", guarded<&get_name>, nullptr, "The container's name in its store; empty in a store of one.", nullptr},
    {"mode", guarded<&get_mode>, nullptr, "The mode it was opened with.", nullptr},
    {"info", guarded<&get_info>, nullptr, "Figures of the store: an Info. O(1).", nullptr},
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

/// A table of methods or properties, with those that all have and its end. It must live as long as its type.
template <class Entry, std::size_t count>
Entry* keep(std::vector<Entry> table, const Entry (&shared)[count]) {
    table.insert(table.end(), std::begin(shared), std::end(shared));
    table.push_back({});
    return (new std::vector<Entry>(std::move(table)))->data();
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
                               {Py_tp_methods, keep(std::move(spec.methods), kMethods)},
                               {Py_tp_getset, keep(std::move(spec.properties), kProperties)},
                               {Py_tp_members, members}});
    PyTypeObject* type =
        make_type(spec.full_name, sizeof(CollectionObject), spec.flags | Py_TPFLAGS_BASETYPE, slots);
    checked(PyModule_AddType(module.ptr(), type));
    return type;
}

void expect_arguments(const char* method, Py_ssize_t count, Py_ssize_t least, Py_ssize_t most) {
    if (count >= least && count <= most) return;
    PyErr_Format(PyExc_TypeError, "%s expected %zd to %zd arguments, got %zd", method, least, most, count);
    raise_pending();
}

PyTypeObject* make_plain_type(const char* full_name, int size, std::vector<PyType_Slot> slots) {
    return make_type(full_name, size, Py_TPFLAGS_DISALLOW_INSTANTIATION, slots);
}

}  // namespace pyrsistence::bindings
