//! The replicated state as the services of this crate and of others use it.

mod doubt;
mod journal;
mod limits;
mod pressure;
mod replicated;
mod space;
mod system;

pub use limits::Limits;
pub(crate) use replicated::{Done, Store, Ungoverned, now_ms};
