//! flaredb over gRPC and the PostgreSQL wire protocol, and the audit shipper.
