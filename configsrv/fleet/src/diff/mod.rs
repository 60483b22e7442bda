//! What a change means: for a node (what must happen to make it active) and for people (who gains and loses reach).

mod class;

pub use class::{Change, Class, classify};
