//! Certificates for everybody in a repository who has none: what an operator does once for a new cluster, and after
//! each new name.

use time::OffsetDateTime;
use zeroize::Zeroizing;

use crate::{
    ca::{Authority, AuthorityError, Issued},
    enrollment::{Entry, Kind},
    repo::Repo,
    spiffe::{SpiffeId, Subject},
    validate::principals,
};

/// Days that the certificate of an artifact signer lasts.
const SIGNER_DAYS: u32 = 365;

/// What was made, for the caller to write down: keys outside of the repository, the rest inside.
pub struct Provision {
    pub holders: Vec<Holder>,
    /// Those who got nothing because they are revoked.
    pub revoked: Vec<Subject>,
    /// For the end of enrollment.log.
    pub log_lines: String,
}

/// Somebody with a new certificate.
pub struct Holder {
    pub subject: Subject,
    pub issued: Issued,
    /// For signers: where in the repository the certificate belongs.
    pub repository_path: Option<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum ProvisionError {
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    #[error("the repository is of cluster {repository}, the authority of {authority}")]
    OtherCluster { repository: String, authority: String },
    #[error("writing a line of the log: {0}")]
    Log(#[from] serde_json::Error),
    #[error("the key of {subject}: {source}")]
    Key { subject: Subject, source: std::io::Error },
}

impl Holder {
    /// A file name without extension: `user-mira`, `service-pier2.shell`, `management-plane-primary`.
    pub fn file_stem(&self) -> String {
        file_stem(&self.subject)
    }
}

/// The file name, without extension, that tools give to a subject's key and certificate. Names have hyphens and no dots, so
/// that no two subjects share a file: the service `shell` of `pier2` is `service-pier2.shell`, the service `pier2-shell` is
/// `service-pier2-shell`.
pub fn file_stem(subject: &Subject) -> String {
    subject.to_string().replacen('/', "-", 1).replace('/', ".")
}

/// The log entry of a new certificate.
pub fn entry(issued: &crate::pki::Certificate, id: SpiffeId, now: OffsetDateTime, operator: &str) -> Entry {
    Entry {
        ts: now,
        event: Kind::Sign,
        spiffe_id: id,
        fingerprint_sha256: issued.fingerprint(),
        serial: issued.serial.clone(),
        not_after: issued.not_after,
        operator: operator.to_owned(),
        reason: None,
    }
}

/// Issues certificates to every signer whose file is missing, to every principal of `repo` without a valid one, and to
/// every principal whose last one has ended: for the key (PKCS #8 PEM) that `known` finds, else for a new one. A
/// key whose certificates are revoked is not used again, and such a signer gets nothing: its name stands for that key.
pub fn issue_missing(
    repo: &Repo,
    authority: &Authority,
    now: OffsetDateTime,
    operator: &str,
    known: impl Fn(&Subject) -> std::io::Result<Option<Zeroizing<String>>>,
) -> Result<Provision, ProvisionError> {
    let cluster = authority.cluster();
    let named = repo.cluster.as_ref().and_then(|cluster| cluster.name.as_ref()).map_or("", |name| &name.value);
    if named != cluster.as_str() {
        let (repository, authority) = (named.to_owned(), cluster.to_string());
        return Err(ProvisionError::OtherCluster { repository, authority });
    }
    let mut log = repo.log.clone().unwrap_or_default();
    let mut provision = Provision { holders: Vec::new(), revoked: Vec::new(), log_lines: String::new() };
    let mut issue = |subject: Subject, days, repository_path| -> Result<(), ProvisionError> {
        let id = SpiffeId::new(cluster, subject.clone());
        let kept = if log.is_revoked(&id) { Ok(None) } else { known(&subject) };
        let issued = match kept {
            Ok(Some(key)) => authority.renew(&key, &subject, now, days)?,
            Ok(None) => authority.issue(&subject, now, days)?,
            Err(source) => return Err(ProvisionError::Key { subject, source }),
        };
        provision.log_lines += &log.append(entry(&issued.certificate, id, now, operator))?;
        provision.holders.push(Holder { subject, issued, repository_path });
        Ok(())
    };
    let spec = repo.cluster.as_ref();
    let mut revoked = Vec::new();
    for signer in spec.iter().flat_map(|spec| &spec.signers) {
        let (Ok(name), Some(path)) = (signer.name.value.parse(), &signer.cert) else { continue };
        let id = SpiffeId::signer(cluster, &name);
        if repo.log.as_ref().is_some_and(|log| log.is_revoked(&id)) {
            revoked.push(Subject::Signer(name));
        } else if signer.certificate.is_none() {
            issue(Subject::Signer(name), SIGNER_DAYS, Some(path.value.clone()))?;
        }
    }
    let days = spec.map_or(1, |spec| spec.cert_validity_days);
    for (subject, _) in principals(repo) {
        let id = SpiffeId::new(cluster, subject.clone());
        if repo.is_revoked(&id) {
            revoked.push(subject);
        } else if repo.log.as_ref().and_then(|log| log.lasting(&id)).is_none_or(|last| last.not_after <= now) {
            issue(subject, days, None)?;
        }
    }
    provision.revoked = revoked;
    Ok(provision)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_subjects_share_a_file() {
        let stem = |subject: &str| file_stem(&subject.parse().unwrap());
        assert_eq!(stem("service/pier2/shell"), "service-pier2.shell");
        assert_eq!(stem("service/pier2-shell"), "service-pier2-shell");
        assert_eq!(stem("user/mira"), "user-mira");
    }
}
