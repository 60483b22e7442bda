use std::path::Path;

use crate::{
    enrollment,
    finding::{Findings, Place, Rule},
    pki::Certificate,
    revocation::{self, SealedRevocations},
    yaml::{Items, parse},
};

use super::{
    Folder, Repo, Selection, Source, SourceError,
    decode::Decoder,
    discover::{self, CLUSTER},
};

/// Reads the repository in `folder`. Mistakes in files become findings of the [`Repo`]; an error means that the folder
/// itself cannot be read.
pub fn load(folder: &Path) -> Result<Repo, SourceError> {
    load_from(&Folder::new(folder), &Selection::Discover)
}

pub fn load_from(source: &dyn Source, selection: &Selection) -> Result<Repo, SourceError> {
    let mut findings = Findings::default();
    let mut repo = Repo::default();
    let mut clusters: Vec<Place> = Vec::new();
    for file in discover::select(source, selection, &mut findings)? {
        if !read_file(&file, source, &mut repo, &mut clusters, &mut findings)? {
            repo.unread.get_or_insert(file);
        }
    }
    match clusters.as_slice() {
        [] if repo.unread.is_none() && source.read(CLUSTER)?.is_some() => {
            findings.error(Rule::V16, &Place::file(CLUSTER), "no file has the cluster block");
        }
        [] | [_] => {}
        [first, more @ ..] => {
            for at in more {
                findings.error(Rule::V16, at, format!("the cluster block is already in {first}"));
            }
        }
    }
    certificates(source, &mut repo, &mut findings);
    repo.log = read_log(source, &mut findings)?;
    repo.revocations = read_revocations(source, &mut findings)?;
    repo.findings = findings.into_sorted();
    Ok(repo)
}

/// Adds one file, and says whether all that it defines is known now.
fn read_file(
    file: &str,
    source: &dyn Source,
    repo: &mut Repo,
    clusters: &mut Vec<Place>,
    findings: &mut Findings,
) -> Result<bool, SourceError> {
    if let Some(link) = file.strip_suffix('/') {
        let message = format!(
            "links to folders are not followed, and there is YAML in this one: put the files here, or leave it out with \
             source: {{ exclude: [{link}] }} in {CLUSTER}"
        );
        findings.error(Rule::V1, &Place::file(link), message);
        return Ok(false);
    }
    let Some(bytes) = source.read(file)? else {
        let (rule, message) = match file {
            CLUSTER => (Rule::V16, "the repository has no cluster.yaml; it belongs at the root and names the cluster"),
            _ => (Rule::V1, "the link leads to no file: remove it, or put the file where it leads"),
        };
        findings.error(rule, &Place::file(file), message);
        return Ok(false);
    };
    let Ok(text) = String::from_utf8(bytes) else {
        findings.error(Rule::V1, &Place::file(file), "the file is not UTF-8");
        return Ok(false);
    };
    match parse(&text) {
        Ok(root) => {
            let items = Items::new(file, findings);
            Ok(Decoder { items, source, repo, clusters }.file(&root))
        }
        Err((mark, message)) => {
            findings.error(Rule::V1, &Place { file: file.into(), mark }, message);
            Ok(false)
        }
    }
}

/// Reads the certificates that the cluster block names.
fn certificates(source: &dyn Source, repo: &mut Repo, findings: &mut Findings) {
    let Some(cluster) = &mut repo.cluster else { return };
    if let Some(path) = &cluster.ca_cert {
        repo.ca = read_certificate(source, path, Rule::V2, findings);
    }
    for signer in &mut cluster.signers {
        if let Some(path) = &signer.cert {
            signer.certificate = read_certificate(source, path, Rule::V12, findings);
        }
    }
}

fn read_certificate(
    source: &dyn Source,
    path: &crate::finding::Located<String>,
    rule: Rule,
    findings: &mut Findings,
) -> Option<Certificate> {
    let found = match source.read(&path.value) {
        Ok(Some(bytes)) => Certificate::from_pem(&bytes).map_err(|error| error.to_string()),
        Ok(None) => Err("the file does not exist; `florctl ca init` and `florctl ca issue` make certificates".into()),
        Err(error) => Err(error.to_string()),
    };
    found.map_err(|error| findings.error(rule, &path.at, format!("{}: {error}", path.value))).ok()
}

fn read_revocations(source: &dyn Source, findings: &mut Findings) -> Result<Option<SealedRevocations>, SourceError> {
    let Some(bytes) = source.read(revocation::FILE)? else { return Ok(None) };
    match SealedRevocations::parse(bytes.trim_ascii_end()) {
        Ok(sealed) => Ok(Some(sealed)),
        Err(error) => {
            let message = format!("{error}; Git has the last good one, `florctl revocations` what the servers have");
            findings.error(Rule::V25, &Place::file(revocation::FILE), message);
            Ok(None)
        }
    }
}

fn read_log(source: &dyn Source, findings: &mut Findings) -> Result<Option<enrollment::Log>, SourceError> {
    let Some(bytes) = source.read(enrollment::FILE)? else { return Ok(None) };
    let (log, broken) = enrollment::Log::parse(&bytes);
    for (mark, message) in broken {
        findings.error(Rule::V4, &Place { file: enrollment::FILE.into(), mark }, message);
    }
    Ok(Some(log))
}
