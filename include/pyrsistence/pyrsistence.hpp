// Everything a C++ program needs: stores, typed containers, the codecs and the exceptions. See each header for
// what it promises and for its rules about threads.
#pragma once

#include "pyrsistence/array.hpp"
#include "pyrsistence/codec.hpp"
#include "pyrsistence/container.hpp"
#include "pyrsistence/deque.hpp"
#include "pyrsistence/dict.hpp"
#include "pyrsistence/error.hpp"
#include "pyrsistence/external.hpp"
#include "pyrsistence/list.hpp"
#include "pyrsistence/multi_dict.hpp"
#include "pyrsistence/priority_queue.hpp"
#include "pyrsistence/set.hpp"
#include "pyrsistence/sorted_dict.hpp"
#include "pyrsistence/sorted_set.hpp"
#include "pyrsistence/store.hpp"
