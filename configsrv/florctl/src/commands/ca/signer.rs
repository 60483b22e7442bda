//! Nodes know a signer by its name and its key together: no certificate here parts the two.

use std::path::Path;

use configsrv_fleet::{SignerName, Subject, bundle::belongs, pki::Certificate, repo::SignerSpec};

use super::is_revoked;
use crate::{
    failure::{Code, Failure},
    workspace::Workspace,
};

const ANOTHER: &str = "a new key needs a new name: add a signer of that name to cluster.yaml, `florctl ca issue \
     --missing`, publish that signed by the key before, see that every node has confirmed it, sign with the new key, \
     and only then take the name before out; deploy/runbooks/signer-rotation.md has the commands";

/// What cluster.yaml says of `subject`, if it is a signer there.
pub(super) fn spec<'w>(workspace: &'w Workspace, subject: &Subject) -> Option<&'w SignerSpec> {
    let Subject::Signer(name) = subject else { return None };
    let mut signers = workspace.repo.cluster.iter().flat_map(|cluster| &cluster.signers);
    signers.find(|signer| signer.name.value == name.as_str())
}

/// Refuses to certify the key in the file `key` (`known` is its PEM, `None` if there is none yet) if nodes know the
/// signer by another one, and to replace it.
pub(super) fn may_have(
    workspace: &Workspace,
    name: &SignerName,
    key: &Path,
    known: Option<&String>,
    new_key: bool,
) -> Result<(), Failure> {
    let subject = Subject::Signer(name.clone());
    unless_revoked(workspace, &subject)?;
    let certified = spec(workspace, &subject).and_then(|spec| spec.certificate.as_ref());
    let message = match (known, certified) {
        (Some(_), _) if new_key => {
            format!("{} is the key by which nodes know {subject}, and is not written over", key.display())
        }
        (Some(known), Some(certificate)) if !belongs(known, certificate) => {
            format!("{} is another key than the one that is certified for {subject}", key.display())
        }
        (None, Some(_)) => format!("the key that is certified for {subject} is not in {}", key.display()),
        (Some(_) | None, Some(_) | None) => return Ok(()),
    };
    Err(Failure::new(Code::State, message).hint(ANOTHER))
}

/// Refuses a certificate for another key than the one by which nodes know the signer.
pub(super) fn may_be(workspace: &Workspace, name: &SignerName, certificate: &Certificate) -> Result<(), Failure> {
    let subject = Subject::Signer(name.clone());
    unless_revoked(workspace, &subject)?;
    let certified = spec(workspace, &subject).and_then(|spec| spec.certificate.as_ref());
    if certified.is_none_or(|certified| certified.public_key == certificate.public_key) {
        return Ok(());
    }
    let message = format!("the request is of another key than the one that is certified for {subject}");
    Err(Failure::new(Code::State, message).hint(ANOTHER))
}

fn unless_revoked(workspace: &Workspace, subject: &Subject) -> Result<(), Failure> {
    if !is_revoked(workspace, &workspace.cluster()?, subject) {
        return Ok(());
    }
    Err(Failure::new(Code::State, format!("{subject} is revoked, and its name stands for that key")).hint(ANOTHER))
}
