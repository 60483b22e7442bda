//! The data plane between nodes. A program on one node opens a TCP connection through its principal's SOCKS5 port; the
//! plane carries it over QUIC, with mTLS between the two principals, to the node of the service, which connects to it.
//!
//! What may happen is pure: [`Tables`] are the access rows of one payload, [`names`] what services are called,
//! [`judge`] whom a certificate names. Everything else moves bytes, and asks them:
//!
//! - The target decides: its `ingress` row for the service must name the initiator, as the certificate names it. No
//!   row, or an empty one, is nobody.
//! - The initiator's `egress` rows are its dial table. They spare it a refusal, and protect nobody.
//!
//! [`Plane`] holds tables and identities behind one atomic pointer each. Whoever is accepted or dialled is judged by one
//! snapshot; a swap closes what the new tables do not allow, and nothing else.

mod counters;
mod dial;
mod greetings;
mod handshakes;
mod identity;
mod live;
mod plane;
mod quic;
mod socks;
mod tables;
mod target;
mod tls;
mod tunnel;

pub use counters::{Count, Counters};
pub use identity::{Identities, IdentityError, Peer, PeerFault, judge};
pub use live::{Connection, Side};
pub use plane::{Inbound, Plane, PlaneError, PlaneStatus};
pub use tables::{Denial, Hop, NoRoute, Tables};
