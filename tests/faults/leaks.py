"""Memory and references that stay, and cycles that the collector does not see."""

LEAKS = "tests/python/test_leaks.py::test_nothing_grows"
CYCLES = "tests/python/test_leaks.py::test_cycles_through_picklers_are_collected"
EXTERNAL = "tests/python/test_leaks.py::test_cycles_through_external_iterators_are_collected"

FAULTS = [
    dict(
        name="an operand that is refused keeps a reference",
        file="bindings/bind_deque.cpp",
        text='    PyErr_Format(PyExc_TypeError, "can only concatenate deque',
        instead='    Py_INCREF(other);\n    PyErr_Format(PyExc_TypeError, "can only concatenate deque',
        tests=[f"{LEAKS}[EMDeque]"],
    ),
    dict(
        name="what a pickler returned instead of bytes stays",
        file="bindings/serializer.cpp",
        text="                 Py_TYPE(pickled.ptr())->tp_name);\n",
        instead="                 Py_TYPE(pickled.release().ptr())->tp_name);\n",
        tests=[f"{LEAKS}[EMDict]"],
    ),
    dict(
        name="an iterator of a closed container stays, half made",
        file="bindings/iterator_type.hpp",
        text="            type_->tp_free(self);\n            Py_DECREF(type_);\n            throw;",
        instead="            throw;",
        tests=[f"{LEAKS}[EMSortedSet]"],
    ),
    dict(
        name="each item that a queue is filled with takes a reference to None",
        file="bindings/bind_sorted.cpp",
        text="        (void)own(push(self, args, 1));",
        instead="        push(self, args, 1);",
        tests=[f"{LEAKS}[EMPriorityQueue]"],
    ),
    dict(
        name="an external iterator that is closed keeps what it has",
        file="bindings/bind_external.cpp",
        text="    finish(iterator_of(self));\n    Py_RETURN_NONE;",
        instead="    (void)std::exchange(iterator_of(self).stream, nullptr);\n    Py_RETURN_NONE;",
        tests=[f"{LEAKS}[functions]"],
    ),
    dict(
        name="the rows of an array are never given back",
        file="bindings/bind_array.cpp",
        text="    std::unique_ptr<RawArray::Rows> rows(rows_of(self).rows);\n",
        instead="    std::unique_ptr<RawArray::Rows> rows;\n",
        tests=[f"{LEAKS}[EMArray]"],
    ),
    dict(
        name="the collector does not see a container's pickler",
        file="bindings/serializer.cpp",
        text="    Py_VISIT(pickler_.ptr());\n",
        instead="",
        tests=[CYCLES],
    ),
    dict(
        name="the collector does not see the dict of an iterator",
        file="bindings/dict_iterator.cpp",
        text="        Py_VISIT(dict_.ptr());\n",
        instead="        (void)visit, (void)arg;\n",
        tests=[f"{CYCLES}[EMDict]"],
    ),
    dict(
        name="the collector does not see the container of a sorted iterator",
        file="bindings/sorted_parts.cpp",
        text="        Py_VISIT(container_.ptr());\n",
        instead="        (void)visit, (void)arg;\n",
        tests=[f"{CYCLES}[EMMultiDict]"],
    ),
    dict(
        name="the collector does not see the owner of a transaction",
        file="bindings/bind_store.cpp",
        text="    Py_VISIT(transaction_of(self).owner);\n",
        instead="",
        tests=[f"{CYCLES}[Store]"],
    ),
    dict(
        name="the collector does not see the key function of a sort",
        file="bindings/sorter.cpp",
        text="    Py_VISIT(key_function_.ptr());\n",
        instead="",
        tests=[EXTERNAL],
    ),
    dict(
        name="the collector does not see what is merged",
        file="bindings/bind_external.cpp",
        text="            Py_VISIT(source.iterator.ptr());\n",
        instead="",
        tests=[EXTERNAL],
    ),
    dict(
        name="what identifies keys of a class lives as long as the process",
        file="python/pyrsistence/_keys.py",
        text="        type.__setattr__(cls, _REGISTERED, function)\n",
        instead="        raise TypeError\n",
        tests=["tests/python/test_leaks.py::test_cycles_through_what_identifies_keys_are_collected"],
    ),
]
