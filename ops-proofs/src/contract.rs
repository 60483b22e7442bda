//! What operators can and cannot do with the core control plane, line by line, as the checks of a run found it.

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};
use tonic::{Response, Status};

pub(crate) const FILE: &str = "scope-fixed-contract.json";
/// What people read. Either it or the server is wrong when they differ.
const COMMITTED: &str = include_str!("../scope-fixed-contract.json");

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Contract {
    /// Raised when the shape changes.
    format: u32,
    supported: Vec<Supported>,
    unsupported: Vec<Unsupported>,
    /// The checks whose lines it has.
    #[serde(skip)]
    proofs: Vec<&'static str>,
}

/// Where a line of the contract comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Line {
    pub(crate) id: String,
    pub(crate) call: String,
    /// The check that makes the call.
    pub(crate) proof: String,
    /// File and heading that say more.
    pub(crate) doc: String,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Supported {
    #[serde(flatten)]
    line: Line,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Unsupported {
    #[serde(flatten)]
    line: Line,
    refusal: Refusal,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Refusal {
    /// Of gRPC, or `exit` and the code of a program.
    pub(crate) code: String,
    /// Without the advice that may follow, and without names and times that are others in each run.
    pub(crate) message: String,
}

impl Refusal {
    /// A program's that ended with this code.
    pub(crate) fn exit(code: i32, message: impl Into<String>) -> Self {
        Self { code: format!("exit {code}"), message: message.into() }
    }
}

impl Contract {
    /// Without lines, and for those of these checks.
    pub(crate) fn of(checks: impl Iterator<Item = &'static str>) -> Self {
        Self { format: 1, supported: Vec::new(), unsupported: Vec::new(), proofs: checks.collect() }
    }

    /// It was done.
    pub(crate) fn supports(&mut self, line: Line) {
        self.supported.push(Supported { line });
    }

    /// It was refused.
    pub(crate) fn refuses(&mut self, line: Line, refusal: Refusal) {
        self.unsupported.push(Unsupported { line, refusal });
    }

    /// A call that has to succeed.
    pub(crate) fn works<T>(&mut self, line: Line, answer: Result<Response<T>, Status>) -> Result<()> {
        answer.with_context(|| format!("{} is supported", line.call))?;
        self.supports(line);
        Ok(())
    }

    /// A call that has to be refused.
    pub(crate) fn is_refused<T>(&mut self, line: Line, answer: Result<Response<T>, Status>) -> Result<()> {
        let Err(status) = answer else { bail!("{} is not supported, but was done", line.call) };
        let message = status.message().split(". ").next().unwrap_or_default().to_owned();
        self.refuses(line, Refusal { code: format!("{:?}", status.code()), message });
        Ok(())
    }

    /// Whether it is what the contract in the tree says of these checks.
    pub(crate) fn is_as_committed(&self) -> Result<bool> {
        let committed: Self = serde_json::from_str(COMMITTED).context("the contract in the tree does not read")?;
        let ours = |line: &Line| self.proofs.iter().any(|proof| *proof == line.proof);
        let supported = committed.supported.iter().filter(|supported| ours(&supported.line));
        let unsupported = committed.unsupported.iter().filter(|unsupported| ours(&unsupported.line));
        Ok(self.format == committed.format
            && supported.eq(self.supported.iter())
            && unsupported.eq(self.unsupported.iter()))
    }
}

#[cfg(test)]
mod tests {
    use std::{env, fs, path::PathBuf};

    use super::*;

    /// As renderers of Markdown make it.
    fn anchor(heading: &str) -> String {
        let kept = heading.to_lowercase().replace(' ', "-");
        kept.chars().filter(|char| char.is_alphanumeric() || *char == '-').collect()
    }

    #[test]
    fn the_contract_names_headings_that_exist() {
        let tree = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap()).join("..");
        let contract: Contract = serde_json::from_str(COMMITTED).unwrap();
        let docs = contract.supported.iter().map(|supported| &supported.line.doc);
        for doc in docs.chain(contract.unsupported.iter().map(|unsupported| &unsupported.line.doc)) {
            let (file, wanted) = doc.split_once('#').unwrap();
            let text = fs::read_to_string(tree.join(file)).unwrap();
            let mut headings = text.lines().filter(|line| line.starts_with('#'));
            assert!(headings.any(|line| anchor(line.trim_start_matches(['#', ' '])) == wanted), "{doc}");
        }
    }

    #[test]
    fn a_supported_call_must_work_and_another_must_not() {
        let mut contract = Contract::of(["p"].into_iter());
        let line = || Line { id: "a".into(), call: "A".into(), proof: "p".into(), doc: "d".into() };
        let refused = || Err::<Response<()>, _>(Status::failed_precondition("not so. Try later."));
        assert!(contract.works(line(), refused()).is_err());
        assert!(contract.is_refused(line(), Ok(Response::new(()))).is_err());
        contract.is_refused(line(), refused()).unwrap();
        let said = contract.unsupported.first().map(|line| (line.refusal.code.as_str(), line.refusal.message.as_str()));
        assert_eq!(said, Some(("FailedPrecondition", "not so")));
    }
}
