//! What an activated artifact means on this machine: files are written, and programs told of them. The data plane
//! joins here.

mod files;
mod hooks;
mod originals;
mod owner;

pub(crate) use files::{Activator, Way};
pub(crate) use hooks::{Commands, Hooks};
pub(crate) use originals::{Original, Originals};
