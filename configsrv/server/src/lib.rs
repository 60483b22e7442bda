//! Versions, artifacts and node status over HTTP and gRPC; FleetLock.
