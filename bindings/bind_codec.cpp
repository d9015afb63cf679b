// Functions of the extension module that lay the codec open to the tests; private, and never stable.
#include "bindings/key_identity.hpp"
#include "bindings/serializer.hpp"

namespace pyrsistence::bindings {

namespace {

nb::object encode(nb::handle value, bool allow_pickle, nb::object pickler) {
    Buffer item;
    Serializer(std::move(pickler), nb::none(), allow_pickle).encode_value(value.ptr(), item);
    return to_bytes(item);
}

nb::object decode(const nb::bytes& item, bool allow_pickle, nb::object unpickler) {
    return Serializer(nb::none(), std::move(unpickler), allow_pickle).decode_value(bytes_of(item.ptr()));
}

nb::object key_identity(nb::handle key) {
    Buffer identity;
    encode_identity(key.ptr(), identity);
    return to_bytes(identity);
}

nb::object encode_key(nb::handle key, bool allow_pickle, nb::object pickler) {
    Buffer identity;
    Buffer original;
    Serializer(std::move(pickler), nb::none(), allow_pickle).encode_key(key.ptr(), identity, original);
    return nb::make_tuple(to_bytes(identity), to_bytes(original));
}

nb::object decode_key(const nb::bytes& identity, const nb::bytes& original, bool allow_pickle,
                      nb::object unpickler) {
    const Serializer serializer(nb::none(), std::move(unpickler), allow_pickle);
    return serializer.decode_key(bytes_of(identity.ptr()), bytes_of(original.ptr()));
}

}  // namespace

void bind_codec(nb::module_& module) {
    using nb::arg;
    module.def("_encode", &encode, arg("value").none(), arg("allow_pickle") = true,
               arg("pickler").none() = nb::none());
    module.def("_decode", &decode, arg("item"), arg("allow_pickle") = true,
               arg("unpickler").none() = nb::none());
    module.def("_key_identity", &key_identity, arg("key").none());
    module.def("_encode_key", &encode_key, arg("key").none(), arg("allow_pickle") = true,
               arg("pickler").none() = nb::none());
    module.def("_decode_key", &decode_key, arg("identity"), arg("original"), arg("allow_pickle") = true,
               arg("unpickler").none() = nb::none());
}

}  // namespace pyrsistence::bindings
