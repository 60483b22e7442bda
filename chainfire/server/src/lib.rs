//! The etcd v3 API on the replicated state machine.
