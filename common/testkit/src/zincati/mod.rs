//! Zincati, the FleetLock client that our servers will meet most, as observed of the real one: what it sends, what it
//! takes for a success, when it asks again. The [`Agent`] is a pure machine in its own time; [`Lock`] is its HTTP;
//! [`Host`] runs both with time scaled down, and [`History`] says whether the servers kept their promises.

mod agent;
mod history;
mod host;
mod http;
mod reply;
mod url;

pub use agent::{Action, Agent, Happened, Step};
pub use history::{Asked, History, Violation};
pub use host::{Host, Mischief};
pub use http::{Lock, Operation};
pub use reply::Failure;
pub use url::{Url, UrlError};
