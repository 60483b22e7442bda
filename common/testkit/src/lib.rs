//! What tests share: real server processes, ports, conditions to wait for.
