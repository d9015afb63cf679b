"""Hostile values give errors: no crash, no hang, no memory without bound."""

ENCODING = "include/pyrsistence/encoding.hpp"
DECODER = "bindings/value_codec.cpp"
HOSTILE_ITEMS = "tests/python/test_value_codec.py::test_hostile_items"

FAULTS = [
    dict(
        name="values may be nested as deeply as their bytes say",
        file=ENCODING,
        text="if (reader.depth_ == kMaxNesting) {",
        instead="if (reader.depth_ == ~0u) {",
        tests=[HOSTILE_ITEMS],
    ),
    dict(
        name="a container may count more items than there are bytes",
        file=ENCODING,
        text="if (count > most) detail::throw_truncated(position(), count, remaining());",
        instead="(void)most;",
        tests=[HOSTILE_ITEMS],
    ),
    dict(
        name="bytes behind the end of an item are read",
        file=ENCODING,
        text="if (count > remaining()) detail::throw_truncated(position(), count, remaining());\n        const std::byte* place",
        instead="const std::byte* place",
        tests=[HOSTILE_ITEMS],
    ),
    dict(
        name="keys may be nested as deeply as their bytes say",
        file="src/codec/identity.cpp",
        text="    const Reader::Level level(item);\n    put_header(out, Tag::kTuple, count);",
        instead="    put_header(out, Tag::kTuple, count);",
        tests=["KeyCodec.*", "Targets/HostileFilesTest.*/codec"],
    ),
    dict(
        name="a dict may count more pairs than there are bytes",
        file="src/codec/encoding.cpp",
        text="if (count > reader.remaining() / 2) throw_truncated(reader.position(), count, reader.remaining());",
        instead="",
        tests=["Encoding.ItemSizeRefusesHostileCounts"],
    ),
    dict(
        name="the items that are to come have no bound",
        file="src/codec/encoding.cpp",
        text="if (inner > reader.remaining() || pending + inner > reader.remaining()) {",
        instead="if (inner == UINT64_MAX) {",
        tests=["Encoding.ItemSizeRefusesHostileCounts"],
    ),
    dict(
        name="a varint may have more than 64 bits",
        file="src/codec/encoding.cpp",
        text="if (shift == 63 && group > 1) break;",
        instead="",
        tests=[HOSTILE_ITEMS],
    ),
    dict(
        name="an entry may go on behind its value",
        file="src/codec/item.cpp",
        text='if (!reader.at_end()) detail::throw_malformed(reader.position(), "bytes after the value of a dict entry");',
        instead="",
        tests=["Entry.RefusesTruncationAndExcess"],
    ),
    dict(
        name="text may be invalid UTF-8, which ends in an error of Python's",
        file=DECODER,
        text="if (decoded == nullptr && PyErr_ExceptionMatches(PyExc_UnicodeDecodeError)) {",
        instead="if (decoded == nullptr && text.has_surrogates) {",
        tests=[HOSTILE_ITEMS],
    ),
    dict(
        name="a set with a list in it ends in an error of Python's",
        file=DECODER,
        text='throw_corrupt_or_python(reader_, "a set with an unhashable member");',
        instead="nb::detail::raise_python_error();",
        tests=[HOSTILE_ITEMS],
    ),
    dict(
        name="a dict may repeat its keys",
        file=DECODER,
        text="check_distinct(PyDict_GET_SIZE(dict.ptr()), count);",
        instead="",
        tests=[HOSTILE_ITEMS],
    ),
    dict(
        name="a value may contain what only keys are made of",
        file=DECODER,
        text='if (grammar_ != Grammar::identity) throw_corrupt(reader_, "a tag of keys in a value");',
        instead="",
        tests=[HOSTILE_ITEMS],
    ),
    dict(
        name="an identity may contain what no key has",
        file=DECODER,
        text='if (grammar_ != Grammar::value) throw_corrupt(reader_, "a tag that no key has");',
        instead="",
        tests=["tests/python/test_value_codec.py", "tests/python/test_key_identity.py"],
    ),
    dict(
        name="a NumPy scalar may have any type that has a name",
        file="python/pyrsistence/_numpy.py",
        text='    if not _DTYPE.fullmatch(name):\n        raise ValueError(f"not the dtype of a NumPy scalar: {name!r}")\n',
        instead="",
        tests=[HOSTILE_ITEMS],
    ),
    dict(
        name="a NumPy scalar may be longer than its bytes",
        file="python/pyrsistence/_numpy.py",
        text="if dtype.itemsize != len(data):",
        instead="if dtype.itemsize < len(data):",
        tests=["tests/python/test_value_codec.py"],
    ),
    dict(
        name="a rational key may be made of anything",
        file="python/pyrsistence/_keys.py",
        text="if type(numerator) is not int or type(denominator) is not int:",
        instead="if numerator is None or denominator is None:",
        tests=["tests/python/test_key_identity.py", "tests/python/test_value_codec.py"],
    ),
]
