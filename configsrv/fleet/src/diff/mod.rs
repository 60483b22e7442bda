//! What a change means: for a node (what must happen to make it active) and for people (who gains and loses reach).

mod access;
mod class;
mod tree;

pub use access::{AccessDelta, Reach};
pub use class::{Change, Class, classify};
pub use tree::TreeDiff;
