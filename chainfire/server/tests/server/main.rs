//! One real server, in a folder and on a port of its own: Raft, RocksDB and gRPC, driven by the generated clients and
//! by etcd's own command line.

mod alarms;
mod checkpoints;
mod doors;
mod errors;
mod etcdctl;
mod integrity;
mod kv;
mod lease;
mod maintenance;
mod pace;
mod pages;
mod rejoin;
mod restart;
mod support;
mod three;
mod txn;
mod users;
mod watch;
