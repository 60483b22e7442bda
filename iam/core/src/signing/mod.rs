//! Keys that sign tokens: their state machine, their publication, and the tokens.

mod confirmation;
mod key;
mod provider;
mod ring_state;
mod token;

pub use confirmation::Confirmation;
pub use key::{Algorithm, Jwk, JwkSet, KeyError, PublicKey, SigningKey};
pub use ring_state::{KeyRing, RingError};
pub use token::{
    Assertion, AssertionFault, Audience, Claims, IssueError, LEEWAY_S, MAX_TOKEN, TokenFault, Verified, Verifier,
    issue, verify_assertion,
};
