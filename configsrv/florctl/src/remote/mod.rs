//! The servers, as this program sees them.

mod fault;
mod grpc;
mod http;
mod lane;
pub(crate) mod tunnel;
mod wire;

pub(crate) use grpc::{Channel, connect, connect_if_known, refused};
pub(crate) use http::Http;
pub(crate) use wire::{Carried, Changes, Drift, LockGroup, Node, Published, Released, Status};
