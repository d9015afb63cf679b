// The iterators of external_sort(), merge() and shuffle(), which own their temporary files.
#include <new>

#include "bindings/sorter.hpp"

namespace pyrsistence::bindings {

namespace {

/// Where the objects of an iterator come from.
class Stream {
public:
    Stream() = default;
    virtual ~Stream() = default;
    Stream(const Stream&) = delete;
    Stream& operator=(const Stream&) = delete;

    /// The next object, or null at the end.
    virtual nb::object next() = 0;
    /// How many are still to come; 0 if nobody knows.
    virtual std::uint64_t remaining() const { return 0; }
    virtual int traverse(visitproc, void*) const { return 0; }
};

const Serializer& plain_serializer() {
    static const Serializer* const serializer = new Serializer();
    return *serializer;
}

/// Calls action(object) for each element, and the callable progress(done, total) now and then.
template <class Action>
void read_all(PyObject* iterable, PyObject* progress, Action action) {
    constexpr std::uint64_t kOften = 16 * 1024;
    const Py_ssize_t hint = progress == Py_None ? 0 : checked(PyObject_LengthHint(iterable, 0));
    const nb::object iterator = own(PyObject_GetIter(iterable));
    std::uint64_t done = 0;
    const auto tell = [&] {
        const nb::object total = hint > 0 ? own(PyLong_FromSsize_t(hint)) : nb::none();
        own(PyObject_CallFunction(progress, "KO", done, total.ptr()));
    };
    SignalPoll poll;
    while (PyObject* value = PyIter_Next(iterator.ptr())) {
        const nb::object holder = nb::steal(value);
        action(value);
        poll.step();
        if (++done % kOften == 0 && progress != Py_None) tell();
    }
    if (PyErr_Occurred()) raise_pending();
    if (progress != Py_None) tell();
}

// ---- Streams ----

class SortedStream final : public Stream {
public:
    SortedStream(const ExternalOptions& options, PyObject* key, bool reverse, bool with_keys)
        : sorter_(options, key, reverse, plain_serializer()), with_keys_(with_keys) {}

    void read(PyObject* iterable, PyObject* progress) {
        Buffer item;
        read_all(iterable, progress, [&](PyObject* value) {
            item.clear();
            plain_serializer().encode_value(value, item);
            sorter_.add(item, value);
        });
        sorter_.finish();
        left_ = sorter_.size();
    }
    nb::object next() override {
        if (!sorter_.next()) return {};
        --left_;
        if (!with_keys_) return sorter_.value();
        const nb::object key = sorter_.key(), value = sorter_.value();
        return own(PyTuple_Pack(2, key.ptr(), value.ptr()));
    }
    std::uint64_t remaining() const override { return left_; }
    int traverse(visitproc visit, void* arg) const override { return sorter_.traverse(visit, arg); }

private:
    Sorter sorter_;
    const bool with_keys_;
    std::uint64_t left_ = 0;
};

class MergedStream final : public Stream {
    struct Source {
        bool done() const noexcept { return !value.is_valid(); }
        Source& front() noexcept { return *this; }
        void pop() {
            value = nb::steal(PyIter_Next(iterator.ptr()));
            if (!value.is_valid() && PyErr_Occurred()) raise_pending();
            key = value.is_valid() && key_function.is_valid() ? own(PyObject_CallOneArg(key_function.ptr(), value.ptr())) : value;
        }
        nb::object iterator, key_function, value, key;
    };
    struct Less {
        bool operator()(const Source& a, const Source& b) const {
            const Source& first = reverse ? b : a;
            const Source& second = reverse ? a : b;
            return checked(PyObject_RichCompareBool(first.key.ptr(), second.key.ptr(), Py_LT)) != 0;
        }
        bool reverse;
    };

public:
    /// Nothing is read before the first item is asked for.
    MergedStream(PyObject* iterables, PyObject* key, bool reverse) : reverse_(reverse) {
        for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(iterables); ++i) {
            waiting_.push_back({own(PyObject_GetIter(PyTuple_GET_ITEM(iterables, i))), key == Py_None ? nb::object() : nb::borrow(key), {}, {}});
        }
    }
    nb::object next() override {
        if (merge_) {
            merge_->pop();
        } else {
            for (Source& source : waiting_) source.pop();
            merge_.emplace(std::move(waiting_), Less{reverse_});
        }
        return merge_->done() ? nb::object() : merge_->front().value;
    }
    int traverse(visitproc visit, void* arg) const override {
        for (const Source& source : merge_ ? merge_->sources() : waiting_) {
            Py_VISIT(source.iterator.ptr());
            Py_VISIT(source.key_function.ptr());
            Py_VISIT(source.value.ptr());
            Py_VISIT(source.key.ptr());
        }
        return 0;
    }

private:
    const bool reverse_;
    std::vector<Source> waiting_;
    std::optional<detail::Merge<Source, Less>> merge_;
};

class ShuffledStream final : public Stream {
public:
    ShuffledStream(const ExternalOptions& options, std::uint64_t seed) : shuffler_(options, seed) {}

    void read(PyObject* iterable, PyObject* progress) {
        Buffer item;
        read_all(iterable, progress, [&](PyObject* value) {
            item.clear();
            plain_serializer().encode_value(value, item);
            shuffler_.push(item);
        });
        shuffler_.finish();
        left_ = shuffler_.size();
    }
    nb::object next() override {
        Bytes item;
        if (!shuffler_.next(item)) return {};
        --left_;
        return plain_serializer().decode_value(item);
    }
    std::uint64_t remaining() const override { return left_; }

private:
    detail::Shuffler shuffler_;
    std::uint64_t left_ = 0;
};

// ---- The iterator ----

struct IteratorObject {
    PyObject_HEAD
    Stream* stream;  ///< null at the end
    bool running;
};

PyTypeObject* iterator_type = nullptr;

IteratorObject& iterator_of(PyObject* self) noexcept { return *reinterpret_cast<IteratorObject*>(self); }

void finish(IteratorObject& iterator) noexcept { delete std::exchange(iterator.stream, nullptr); }

/// The stream's user code may ask the iterator for the next item, or close it.
void require_idle(const IteratorObject& iterator) {
    if (iterator.running) raise(PyExc_ValueError, "the iterator is running already: its own key, comparison or input asks it for an item");
}

PyObject* next(PyObject* self) {
    IteratorObject& iterator = iterator_of(self);
    require_idle(iterator);
    if (iterator.stream == nullptr) return nullptr;
    iterator.running = true;
    try {
        nb::object item = iterator.stream->next();
        iterator.running = false;
        if (!item.is_valid()) finish(iterator);
        return item.release().ptr();
    } catch (...) {
        iterator.running = false;
        set_python_error();
    }
    PyObject *type, *value, *traceback;  // destroying the stream may run user code
    PyErr_Fetch(&type, &value, &traceback);
    finish(iterator);
    PyErr_Restore(type, value, traceback);
    return nullptr;
}

PyObject* length_hint(PyObject* self, PyObject*) {
    const IteratorObject& iterator = iterator_of(self);
    return PyLong_FromUnsignedLongLong(iterator.stream == nullptr ? 0 : iterator.stream->remaining());
}

PyObject* close(PyObject* self, PyObject*) {
    require_idle(iterator_of(self));
    finish(iterator_of(self));
    Py_RETURN_NONE;
}

PyObject* enter(PyObject* self, PyObject*) { return Py_NewRef(self); }

int traverse(PyObject* self, visitproc visit, void* arg) {
    Py_VISIT(Py_TYPE(self));
    const Stream* const stream = iterator_of(self).stream;
    return stream == nullptr ? 0 : stream->traverse(visit, arg);
}

int clear(PyObject* self) {
    if (!iterator_of(self).running) finish(iterator_of(self));
    return 0;
}

void destroy(PyObject* self) {
    PyTypeObject* type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    finish(iterator_of(self));
    type->tp_free(self);
    Py_DECREF(type);
}

PyMethodDef methods[] = {
    {"close", guarded<&close>, METH_NOARGS, "Give up what is left, and the temporary files. Harmless when repeated."},
    {"__enter__", guarded<&enter>, METH_NOARGS, "Itself; close() when the block ends."},
    {"__exit__", guarded<&close>, METH_VARARGS, "close()"},
    {"__length_hint__", guarded<&length_hint>, METH_NOARGS, "How many items are still to come; 0 if that is not known."},
    {nullptr, nullptr, 0, nullptr},
};

template <class Function>
void* slot(Function* function) {
    return reinterpret_cast<void*>(function);
}

nb::object iterate(std::unique_ptr<Stream> stream) {
    nb::object iterator = own(iterator_type->tp_alloc(iterator_type, 0));
    iterator_of(iterator.ptr()).stream = stream.release();
    return iterator;
}

// ---- Functions ----

nb::object sort(nb::handle iterable, nb::handle key, nb::handle reverse, nb::handle memory_limit, nb::handle directory,
                nb::handle progress, bool with_keys) {
    auto stream = std::make_unique<SortedStream>(external_options(memory_limit.ptr(), directory.ptr()), key.ptr(),
                                                 checked(PyObject_IsTrue(reverse.ptr())) != 0, with_keys);
    stream->read(iterable.ptr(), progress.ptr());
    return iterate(std::move(stream));
}

nb::object merge(nb::handle iterables, nb::handle key, nb::handle reverse) {
    return iterate(std::make_unique<MergedStream>(iterables.ptr(), key.ptr(), checked(PyObject_IsTrue(reverse.ptr())) != 0));
}

nb::object shuffle(nb::handle iterable, std::uint64_t seed, nb::handle memory_limit, nb::handle directory, nb::handle progress) {
    auto stream = std::make_unique<ShuffledStream>(external_options(memory_limit.ptr(), directory.ptr()), seed);
    stream->read(iterable.ptr(), progress.ptr());
    return iterate(std::move(stream));
}

}  // namespace

ExternalOptions external_options(PyObject* memory_limit, PyObject* directory) {
    ExternalOptions options;
    if (memory_limit != Py_None) {
        const long long bytes = PyLong_AsLongLong(memory_limit);
        if (bytes == -1 && PyErr_Occurred()) raise_pending();
        if (bytes < 1) raise(PyExc_ValueError, "memory_limit is " + std::to_string(bytes) + " bytes; some are needed");
        options.memory_limit = static_cast<std::uint64_t>(bytes);
    }
    if (directory != Py_None) options.directory = path_of(directory);
    return options;
}

void bind_external(nb::module_& module) {
    using nb::arg;
    iterator_type = make_plain_type("pyrsistence.ExternalIterator", sizeof(IteratorObject),
                                    {{Py_tp_iter, slot(&PyObject_SelfIter)},
                                     {Py_tp_iternext, slot(guarded<&next>)},
                                     {Py_tp_dealloc, slot(&destroy)},
                                     {Py_tp_traverse, slot(&traverse)},
                                     {Py_tp_clear, slot(&clear)},
                                     {Py_tp_methods, methods}});
    module.def("_external_sort", &sort, arg("iterable"), arg("key").none(), arg("reverse"), arg("memory_limit").none(),
               arg("directory").none(), arg("progress").none(), arg("with_keys"));
    module.def("_external_merge", &merge, arg("iterables"), arg("key").none(), arg("reverse"));
    module.def("_external_shuffle", &shuffle, arg("iterable"), arg("seed"), arg("memory_limit").none(),
               arg("directory").none(), arg("progress").none());
}

}  // namespace pyrsistence::bindings
