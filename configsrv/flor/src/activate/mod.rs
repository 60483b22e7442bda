//! What an activated artifact means on this machine: files are written, the data plane follows, and programs are told
//! of their files.

mod child;
mod files;
mod hooks;
mod liveness;
mod originals;
mod owner;
mod stepped;
#[cfg(test)]
mod tests;

pub(crate) use files::{Activator, Way, content};
pub(crate) use hooks::{Commands, Hooks};
use originals::Untold;
pub(crate) use originals::{Original, Originals};
pub(crate) use stepped::SteppedHooks;
