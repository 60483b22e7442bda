use crate::{
    finding::{Findings, Rule},
    names::{ClusterName, SignerName},
    repo::{Repo, SignerSpec},
    spiffe::SpiffeId,
};

const FOLDER: &str = "certs/management-planes/";

/// V12, and that the authority is one.
pub(super) fn check(repo: &Repo, findings: &mut Findings) {
    let Some(cluster) = &repo.cluster else { return };
    if cluster.signers.is_empty() {
        findings.error(Rule::V12, &cluster.at, "signers.mgmt.keys is empty, so no node would accept an artifact");
    }
    if let (Some(ca), Some(path)) = (&repo.ca, &cluster.ca_cert) {
        if !ca.is_ca {
            findings.error(Rule::V12, &path.at, format!("{} is not an authority's certificate", path.value));
        }
        let domain = cluster.name.as_ref().map(|name| format!("spiffe://{}", name.value));
        if ca.is_ca && domain.is_some() && ca.uri != domain {
            let found = ca.uri.as_deref().unwrap_or("no cluster");
            findings.error(
                Rule::V12,
                &path.at,
                format!("{} is the authority of {found}, not of this cluster", path.value),
            );
        }
    }
    let name = cluster.name.as_ref().and_then(|name| name.value.parse::<ClusterName>().ok());
    for signer in &cluster.signers {
        if let (Some(cluster), Ok(key)) = (&name, signer.name.value.parse()) {
            one(repo, cluster, &key, signer, findings);
        }
    }
}

fn one(repo: &Repo, cluster: &ClusterName, name: &SignerName, signer: &SignerSpec, findings: &mut Findings) {
    let Some(path) = &signer.cert else { return };
    let mut wrong = |message: String| findings.error(Rule::V12, &path.at, message);
    if !path.value.starts_with(FOLDER) {
        wrong(format!("signers' certificates are in {FOLDER}"));
    }
    let Some(certificate) = &signer.certificate else { return };
    let expected = SpiffeId::signer(cluster, name);
    if certificate.uri.as_deref() != Some(expected.as_str()) {
        let found = certificate.uri.as_deref().unwrap_or("nobody");
        wrong(format!("the certificate names {found}, expected {expected}"));
    }
    if certificate.public_key.is_none() {
        wrong("the certificate's key is not Ed25519".to_owned());
    }
    if repo.ca.as_ref().is_some_and(|ca| !certificate.is_signed_by(ca)) {
        wrong("the cluster's authority did not sign the certificate".to_owned());
    }
    match repo.log.as_ref().and_then(|log| log.valid(&expected)) {
        Some(event) if event.fingerprint_sha256 == certificate.fingerprint() => {}
        Some(_) => wrong("enrollment.log has another certificate for this signer".to_owned()),
        None if repo.log.as_ref().is_some_and(|log| log.is_revoked(&expected)) => {
            wrong("the certificates of this signer are revoked: take it out".to_owned());
        }
        None => wrong(
            "enrollment.log has no certificate for this signer; `florctl ca issue --kind signer` certifies its key"
                .to_owned(),
        ),
    }
}
