//! The operator of a fleet: a repository of YAML, `florctl`, git, and a record of what was typed and found.

mod repository;
mod step;
mod workplace;

pub(crate) use self::{
    repository::Repository,
    step::{Said, Step},
    workplace::Workplace,
};
