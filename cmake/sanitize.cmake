# What PYRSISTENCE_SANITIZE means: options of every target of this project.
string(TOLOWER "${PYRSISTENCE_SANITIZE}" SANITIZER)
if(SANITIZER STREQUAL thread)
  # GCC warns that the sanitizer knows no fences; those of the engine stand between atomic accesses only, which
  # are no races without them either.
  target_compile_options(pyrsistence_options INTERFACE -fsanitize=thread -fno-omit-frame-pointer
                         $<$<CXX_COMPILER_ID:GNU>:-Wno-tsan>)
  target_link_options(pyrsistence_options INTERFACE -fsanitize=thread)
elseif(SANITIZER STREQUAL address OR SANITIZER MATCHES "^(1|on|yes|true|y)$")
  target_compile_options(pyrsistence_options INTERFACE -fsanitize=address,undefined -fno-sanitize-recover=all
                         -fno-omit-frame-pointer)
  target_link_options(pyrsistence_options INTERFACE -fsanitize=address,undefined)
elseif(PYRSISTENCE_SANITIZE)
  message(FATAL_ERROR "PYRSISTENCE_SANITIZE is '${PYRSISTENCE_SANITIZE}': use OFF, address or thread")
endif()
