//! The servers, as this program sees them.

mod grpc;
mod http;
mod lane;
mod wire;

pub(crate) use grpc::{Channel, connect, connect_if_known, refused};
pub(crate) use http::Http;
pub(crate) use wire::{Carried, LockGroup, Node, Published, Released, Status};
