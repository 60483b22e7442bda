//! gRPC client of flaredb.v1.
