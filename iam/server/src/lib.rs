//! IAM over gRPC and OAuth2, its state in the system store.
//!
//! [`Iam`] is opened with the secrets that the start-up contract accepted, runs beside the other services, and is
//! their [`iam_client::Authority`]. It caches no policy: a decision reads the few records that it is about from the
//! local state machine, so that a change counts on a server from the entry on that carries it.
//!
//! - `genesis`: how the cluster's identity begins, and which servers do not belong.
//! - `authority`, `decide`, `directory`, `tokens`, `signing`, `credentials`, `enrolment`: what IAM does.
//! - `delegation`: who administers whom.
//! - `sessions`: the open connections of known callers. `peers`: whom their certificates name.
//! - `masters`: the master keys, and what is sealed with them.
//! - `rotate`: rotations as jobs.
//! - `introspection`: how often clients may ask about tokens.
//! - `receipts`: where a revocation counts.
//! - `verifiers`: what is enforced where, which rotations wait for.
//! - `attempt`: changes under an idempotency key.
//! - `last_uses`: when and from where access keys were used last.
//! - `spool`: the decision log. `recorder`: what goes into it.
//! - `wire`, `http`: how callers reach it.

mod access;
mod assertions;
mod attempt;
mod authority;
mod bootstrap;
mod break_glass;
mod clock;
mod credentials;
mod decide;
mod delegation;
mod directory;
mod enrolment;
mod error;
mod explain;
mod files;
mod genesis;
mod guess_limit;
mod holdings;
mod http;
mod iam;
mod intermediate;
mod introspection;
mod issuer;
mod kept;
mod last_uses;
mod mappings;
mod masters;
mod metrics;
mod peers;
mod policies;
mod receipts;
mod recorder;
mod records;
mod recovery;
mod rotate;
mod sessions;
mod settings;
mod signing;
mod simulate;
mod spool;
mod tokens;
mod trust;
mod verifiers;
mod wire;

pub use access::{ACCESS_GRPC, ACCESS_HTTP};
pub use break_glass::BreakGlass;
pub use clock::{Clock, Entropy, EntropyError, SystemClock, SystemEntropy};
pub use error::Error;
pub use genesis::cached_check;
pub use iam::{Doors, Iam, Status};
pub use settings::{Lifetimes, Settings};
pub use spool::{SpoolError, SpoolStatus};
