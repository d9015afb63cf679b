// The operations of an array within a step that its caller commits: for its own methods, recovery and salvage.
#pragma once

#include "containers/records.hpp"

namespace pyrsistence::containers {

/// What a record tells of. Throws CorruptionError, before anything changes, if it cannot be.
void apply_array_op(storage::WriteStep& step, const storage::LoggedOp& op);

}  // namespace pyrsistence::containers
