//! One real server, in a folder and on a port of its own: Raft, RocksDB and gRPC, driven by the generated clients and
//! by etcd's own command line.

mod alarms;
mod authority;
mod checkpoints;
mod copies;
mod doors;
mod election;
mod errors;
mod etcd_files;
mod etcdctl;
mod gateway;
mod gateway_streams;
mod integrity;
mod kubernetes;
mod kv;
mod lease;
mod lock;
mod maintenance;
mod memory;
mod metadata;
mod pace;
mod pages;
mod past;
mod range_stream;
mod real_etcd;
mod recipe_clients;
mod rejoin;
mod restart;
mod restores;
mod support;
mod three;
mod transport;
mod txn;
mod users;
mod watch;
