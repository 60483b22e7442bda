//! `holdfast chainfire`: the store alone, in the place of etcd. It takes etcd's flags and environment, has etcd's
//! defaults (plaintext and anonymous included), and logs the lines that etcd's supervisors wait for.

mod flags;
mod foreign;
mod server;
mod settings;
mod url;

pub use flags::{FlagError, Flags};
pub use server::{Server, ServerError};
pub use settings::{Settings, SettingsError};
