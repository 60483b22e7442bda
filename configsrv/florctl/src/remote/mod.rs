//! The servers, as this program sees them.

mod ahead;
mod fault;
mod grpc;
mod http;
mod lane;
mod place;
mod tunnel;
mod wire;

pub(crate) use ahead::highest;
pub(crate) use grpc::{Channel, connect, connect_if_known, refused};
pub(crate) use http::{About, Http};
pub(crate) use place::Named;
pub(crate) use wire::{Carried, Changes, Drift, LockGroup, Node, Published, Released, Status};
