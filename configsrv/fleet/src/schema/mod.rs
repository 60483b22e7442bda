//! What may be written in the repository's YAML.
//!
//! There is one table of fields. The reader accepts what is in it and nothing else, and editors get it as JSON Schema, so
//! that the two cannot say different things about names, needs and words. That they also agree about values is a test
//! (`tests/schema.rs`).

mod form;
mod json;
mod shape;
mod tables;

pub use form::Form;
pub use json::{Part, json_schema};
pub(crate) use shape::{Field, Shape, Value};
pub(crate) use tables::{
    ACTIVATION, ADDRESS, CLUSTER, CONFIG_SERVER, CRYPTO, DEVICE, FILE, KEY, MGMT, NODE, PROBE, REPOSITORY, ROLE,
    SERVICE, SIGNERS, SOURCE, USER,
};
