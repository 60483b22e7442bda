//! Every wire interface of Holdfast, by protobuf package.
//!
//! Wire types stay inside the `wire` modules of the crates that speak them; domain code never sees them.

// The code below is generated; its style is prost's.
#![allow(clippy::all, clippy::pedantic, unreachable_pub, missing_docs, unused_qualifications)]

/// etcd's stored key-value and event types.
pub mod mvccpb {
    tonic::include_proto!("mvccpb");
}

/// etcd's users, roles and permissions.
pub mod authpb {
    tonic::include_proto!("authpb");
}

/// etcd's v3 services.
pub mod etcdserverpb {
    tonic::include_proto!("etcdserverpb");
}

/// etcd's lock recipe as a service.
pub mod v3lockpb {
    tonic::include_proto!("v3lockpb");
}

/// etcd's election recipe as a service.
pub mod v3electionpb {
    tonic::include_proto!("v3electionpb");
}

/// What servers say to each other.
pub mod peer {
    tonic::include_proto!("holdfast.peer.v1");
}

/// What chainfire offers beyond etcd.
pub use holdfast::chainfire::v1 as chainfire;

/// As deep as the package's name, because its messages refer to etcd's by relative paths.
mod holdfast {
    pub mod chainfire {
        pub mod v1 {
            tonic::include_proto!("holdfast.chainfire.v1");
        }
    }
}

/// The replicated SQL store.
pub mod flaredb {
    tonic::include_proto!("flaredb.v1");
}

/// Identity.
pub mod iam {
    tonic::include_proto!("iam.v1");
}

/// Distribution of configuration.
pub mod configsrv {
    tonic::include_proto!("configsrv.v1");
}

/// The encoded `FileDescriptorSet` of all packages above, for reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
