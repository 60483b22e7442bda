//! The replicated state as the services of this crate and of others use it.

mod journal;
mod limits;
mod replicated;
mod system;

pub use limits::Limits;
pub(crate) use replicated::{Done, Store, Ungoverned};
