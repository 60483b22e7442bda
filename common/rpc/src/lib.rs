//! Listeners, TLS from files and the one mapping from error kinds to gRPC and HTTP.
