"""`allow_pickle=False` never unpickles; opening, `len`, `info`, `verify`, repair, `compact`, `backup` never do."""

NEVER = "tests/python/test_never_unpickles.py"
COLLECTION = "bindings/collection.cpp"

FAULTS = [
    dict(
        name="a pickle is loaded without leave",
        file="bindings/serializer.cpp",
        text="if (!allow_pickle_) {",
        instead="if (!allow_pickle_ && pickler_.is_valid()) {",
        tests=[f"{NEVER}::test_nothing_is_loaded"],
    ),
    dict(
        name="the pickle of a key is loaded without leave",
        file="bindings/serializer.cpp",
        text="    return decode_value(original);\n",
        instead="    if (Reader(original).peek() == Tag::kPickle) return pickle_loads(content_of(original, Tag::kPickle));\n"
        "    return decode_value(original);\n",
        tests=[f"{NEVER}::test_nothing_is_loaded"],
    ),
    dict(
        name="the containers of a store and its snapshots forget the flag",
        file=COLLECTION,
        text="set_serializer(model.pickler(), model.unpickler(), model.allow_pickle());",
        instead="set_serializer(model.pickler(), model.unpickler(), true);",
        tests=[f"{NEVER}::test_nothing_is_loaded"],
    ),
    dict(
        name="a handle that is sent forgets the flag",
        file=COLLECTION,
        text='item(state, "allow_pickle").is(Py_True));',
        instead="true);",
        tests=[f"{NEVER}::test_the_flag_goes_with_the_handle"],
    ),
    dict(
        name="the copy of a dict forgets the flag",
        file=COLLECTION,
        text="serializer.allow_pickle() ? Py_True : Py_False);",
        instead="Py_True);",
        tests=[f"{NEVER}::test_copies_inherit_the_flag"],
    ),
    dict(
        name="the copy of a list forgets the flag",
        file="bindings/list_bulk.cpp",
        text="serializer.allow_pickle() ? Py_True : Py_False));",
        instead="Py_True));",
        tests=[f"{NEVER}::test_copies_inherit_the_flag"],
    ),
    dict(
        name="values are pickled without leave",
        file="bindings/serializer.cpp",
        text="if (allow_pickle_) return put_pickled(value, out);",
        instead="if (allow_pickle_ || !unpickler_.is_valid()) return put_pickled(value, out);",
        tests=["tests/python/test_value_codec.py::test_other_types_are_pickled_as_a_whole"],
    ),
]
