//! The system store in memory.
