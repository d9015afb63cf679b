# The extension module pyrsistence._core, with its type stub. What belongs into a wheel is in the install
# component "python".
find_package(Python 3.10 REQUIRED COMPONENTS Interpreter Development.Module)
execute_process(COMMAND ${Python_EXECUTABLE} -m nanobind --cmake_dir
                OUTPUT_VARIABLE NANOBIND_CMAKE_DIR OUTPUT_STRIP_TRAILING_WHITESPACE
                ERROR_QUIET RESULT_VARIABLE NANOBIND_MISSING)
if(NANOBIND_MISSING)
  message(FATAL_ERROR "${Python_EXECUTABLE} has no nanobind: "
                      "run '${Python_EXECUTABLE} -m pip install nanobind'")
endif()
# The path changes with every isolated build environment; a cached one would point to a deleted folder.
set(nanobind_DIR ${NANOBIND_CMAKE_DIR} CACHE PATH "nanobind's CMake package" FORCE)
find_package(nanobind CONFIG REQUIRED)
if(nanobind_VERSION VERSION_LESS 2.4)
  message(FATAL_ERROR "nanobind ${nanobind_VERSION} is too old: 2.4 or later is needed")
endif()

file(GLOB_RECURSE BINDING_SOURCES CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/bindings/*.cpp)
nanobind_add_module(_core NB_STATIC NOMINSIZE ${BINDING_SOURCES})
target_include_directories(_core PRIVATE ${PROJECT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/src)
target_include_directories(_core SYSTEM PRIVATE ${XXHASH_INCLUDE_DIR})
target_compile_definitions(_core PRIVATE PYRSISTENCE_VERSION="${PROJECT_VERSION}")
target_link_libraries(_core PRIVATE pyrsistence pyrsistence_options)
if(PYRSISTENCE_LTO)
  set_property(TARGET _core PROPERTY INTERPROCEDURAL_OPTIMIZATION ON)
endif()
install(TARGETS _core LIBRARY DESTINATION pyrsistence COMPONENT python)

# A cross-compiled or sanitized module cannot be imported by this interpreter, so it has no stub.
if(NOT CMAKE_CROSSCOMPILING AND NOT PYRSISTENCE_SANITIZE)
  nanobind_add_stub(_core_stub MODULE _core OUTPUT _core.pyi INCLUDE_PRIVATE
                    PATTERN_FILE ${PROJECT_SOURCE_DIR}/cmake/core_stub.txt
                    PYTHON_PATH $<TARGET_FILE_DIR:_core> DEPENDS _core)
  install(FILES ${CMAKE_CURRENT_BINARY_DIR}/_core.pyi DESTINATION pyrsistence COMPONENT python)
endif()
