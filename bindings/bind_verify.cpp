// verify(), of a handle and of the directory of a store that may not open, with the repair that can follow.
#include "bindings/collection.hpp"

namespace pyrsistence::bindings {

namespace {

LazyAttribute make_report{"pyrsistence._verify", "report"};

nb::object to_tuple(const std::vector<std::string>& texts) {
    nb::object made = own(PyTuple_New(static_cast<Py_ssize_t>(texts.size())));
    for (std::size_t i = 0; i < texts.size(); ++i) {
        PyTuple_SET_ITEM(made.ptr(), static_cast<Py_ssize_t>(i), to_text(texts[i]).release().ptr());
    }
    return made;
}

nb::object to_path(const std::filesystem::path& path) {
    if (path.empty()) return nb::none();
    return own(PyUnicode_DecodeFSDefault(path.c_str()));
}

/// Where a repaired store goes: beside the damaged one, to a path, or nowhere.
std::filesystem::path place_of_repair(PyObject* repair, const std::filesystem::path& store) {
    if (repair == Py_True) return store.string() + ".repaired";
    if (repair == Py_False || repair == Py_None) return {};
    return path_of(repair);
}

/// The report, or CorruptionError if there are faults and no repair was asked for.
nb::object to_python(const Report& report, bool repair) {
    return own(PyObject_CallFunction(make_report.get(), "OKKKOOKO", repair ? Py_True : Py_False, report.pages,
                                     report.entries, report.fault_count, to_tuple(report.faults).ptr(),
                                     to_path(report.repaired).ptr(), report.saved, to_tuple(report.left_out).ptr()));
}

nb::object verify_path(nb::handle path, nb::handle progress, nb::handle repair) {
    std::filesystem::path store = path_of(path.ptr());
    if (store.filename().empty()) store = store.parent_path();  // after a slash
    const std::filesystem::path repair_to = place_of_repair(repair.ptr(), store);
    const Progress tell = progress_to(progress.ptr());
    const Report report = [&] {
        const WithoutGil released;
        return verify(store, tell, repair_to);
    }();
    return to_python(report, !repair_to.empty());
}

}  // namespace

const char* const kVerifyDoc = R"(verify($self, /, *, progress=None, repair=False)
--

Read the whole store and prove that it is sound; return a Report, or raise CorruptionError with all faults.

Every page must be reachable or free, and every checksum, count and index entry right. The exception names
the first faults in its message and has the report as its attribute `report`. Begins with a checkpoint, if
the store may be written; others go on meanwhile. Never unpickles anything. Takes time in proportion to the
size of the store, and memory for one bit per page.

progress: called as progress(pages_done, pages_in_all) now and then; what it raises ends the verification.

repair: True, or the path of a new directory. If there are faults, what can be read is saved in a new store
there (True: at the path of this one with ".repaired" behind it), whose indexes, counts and free space are made
anew, and the report, instead of an exception, tells where it is and what is missing in it. This store stays as
it is. Named snapshots are not saved. Raises ExistsError if there is something at the path.

`pyrsistence.verify(path)` does the same for a store that does not open.

>>> import pyrsistence
>>> with pyrsistence.EMDict(None) as d:
...     d.update(a=1, b=2)
...     d.verify().entries
2)";

PyObject* verify_handle(PyObject* self, PyObject* args, PyObject* kwargs) {
    static const char* names[] = {"progress", "repair", nullptr};
    PyObject *progress = Py_None, *repair = Py_False;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|$OO:verify", const_cast<char**>(names), &progress, &repair)) {
        raise_pending();
    }
    const Use<Handle> engine(collection_of(self));
    const std::filesystem::path repair_to = place_of_repair(repair, engine->path());
    const Progress tell = progress_to(progress);
    const Report report = engine.without_gil([&](Handle& handle) { return handle.verify(tell, repair_to); });
    return to_python(report, !repair_to.empty()).release().ptr();
}

void bind_verify(nb::module_& module) {
    using nb::arg;
    module.def("_verify", &verify_path, arg("path"), arg("progress").none() = nb::none(),
               arg("repair").none() = false);
}

}  // namespace pyrsistence::bindings
