//! IAM over gRPC and OAuth2, its state in the system store.
