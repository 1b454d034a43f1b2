//! Applies steps to the target's tree, inside its root and atomically.
