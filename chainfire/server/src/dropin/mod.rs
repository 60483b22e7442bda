//! `holdfast chainfire`: the store alone, in the place of etcd. It takes etcd's flags and environment, has etcd's
//! defaults (plaintext and anonymous included), and logs the lines that etcd's supervisors wait for.

mod file;
mod flags;
mod foreign;
mod self_signed;
mod server;
mod settings;
mod tls;
mod url;

pub use file::FileError;
pub use flags::{FlagError, Flags};
pub use server::{Server, ServerError};
pub use settings::{Settings, SettingsError};
