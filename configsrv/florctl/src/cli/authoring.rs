use std::path::PathBuf;

use clap::{Args, builder::PossibleValue};
use configsrv_fleet::{ClusterName, schema::Part};

use super::Repository;

/// `florctl init`.
#[derive(Args, Debug)]
pub(crate) struct Init {
    /// The folder; made if need be. Nothing in it is overwritten.
    pub(crate) dir: PathBuf,
    /// The cluster's name, which is also the trust domain of its certificates: quay.test.
    #[arg(long, value_name = "CLUSTER")]
    pub(crate) name: ClusterName,
}

/// `florctl schema`.
#[derive(Args, Debug)]
pub(crate) struct Schema {
    /// For files that have only this in them.
    #[arg(value_enum, default_value_t = SchemaPart(Part::All))]
    pub(crate) part: SchemaPart,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct SchemaPart(pub(crate) Part);

const PARTS: [SchemaPart; Part::EVERY.len()] = {
    let mut parts = [SchemaPart(Part::All); Part::EVERY.len()];
    let mut at = 0;
    while at < parts.len() {
        parts[at] = SchemaPart(Part::EVERY[at]);
        at += 1;
    }
    parts
};

impl clap::ValueEnum for SchemaPart {
    fn value_variants<'a>() -> &'a [Self] {
        &PARTS
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.0.name()))
    }
}

/// `florctl plan`.
#[derive(Args, Debug)]
pub(crate) struct Plan {
    #[command(flatten)]
    pub(crate) repository: Repository,
    /// End with 4 if there is something to publish.
    #[arg(long)]
    pub(crate) exit_code: bool,
}
