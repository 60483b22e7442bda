//! What tests, proofs and the demo share: real server processes, ports, conditions to wait for, public clients.
//!
//! Nothing here stands in for a server of ours: [`Server`] and [`Cluster`] start the `holdfast` binary that cargo built,
//! keep its output in files, and end it by its process id when they are dropped. The crate needs no async runtime, so
//! that `cargo xtask` can use it too; asynchronous tests use it as it is, since what they wait for runs in other
//! processes. Whoever has to await what they wait for turns on the feature `async`, for `eventually`.
//!
//! ```no_run
//! let server = holdfast_testkit::Server::dev()?;
//! println!("etcdctl --endpoints {}", server.endpoints()?.api);
//! # anyhow::Ok(())
//! ```

mod binaries;
mod client;
mod cluster;
mod condition;
mod desk;
mod folder;
mod netns;
mod node;
mod ports;
mod process;
mod program;
mod secrets;
mod server;
pub mod zincati;

pub use binaries::Binaries;
pub use client::client;
pub use cluster::Cluster;
#[cfg(feature = "async")]
pub use condition::eventually;
pub use condition::wait_until;
pub use desk::Desk;
pub use folder::copy_folder;
pub use netns::{End, Namespace};
pub use node::Node;
pub use ports::free_ports;
pub use process::{Process, Signal};
pub use program::{Ended, Program};
pub use server::{Endpoints, Launch, Server};
