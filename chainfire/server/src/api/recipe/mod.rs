//! etcd's recipes for locks and elections, run by the server. A line is all keys under `name/`, in the order of their
//! creation; whose key is the oldest owns the lock, or leads. Everything is done through the KV and Lease handlers as
//! the caller, so that rights, limits and records are those of the same calls by a client.

mod election;
mod inside;
mod lock;
mod observe;
mod place;
mod presence;

use inside::Inside;
use place::{Line, Place};
