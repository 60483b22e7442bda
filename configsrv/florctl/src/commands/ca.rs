mod signer;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use configsrv_fleet::{
    ClusterName, Digest, SpiffeId, Subject,
    bundle::belongs,
    ca::Authority,
    enrollment::{Entry, Kind},
    pki::Certificate,
    provision::{entry, file_stem, issue_missing},
};
use iam_ca::PrivateKey;
use serde_json::{Value, json};
use time::OffsetDateTime;
use zeroize::Zeroizing;

use crate::{
    cli::{Ca, Holder, Keys},
    failure::{Code, Failure},
    output::Format,
    progress,
    workspace::{Workspace, write_private},
};

use super::backup::passphrase;

const CA_KEY: &str = "ca.key";
const SIGNER_DAYS: u32 = 365;
const NO_AUTHORITY: &str = "`florctl ca init` makes an authority";

pub(super) fn run(command: &Ca, output: Format) -> Result<Code, Failure> {
    match command {
        Ca::Init { keys, days } => init(keys, *days, output)?,
        Ca::Issue { keys, missing: true, .. } => missing(keys, output)?,
        Ca::Issue { keys, missing: false, new_key, holder } => issue(keys, holder, *new_key, output)?,
        Ca::Sign { csr, keys, holder, out } => sign(csr, keys, holder, out.as_deref(), output)?,
        Ca::Intermediate { csr, keys, days, out } => intermediate(csr, keys, *days, out.as_deref(), output)?,
        Ca::Password { keys, new_password_file } => password(keys, new_password_file, output)?,
        Ca::Revoke { repository, holder, reason, operator } => {
            revoke(&Workspace::open(repository)?, holder, reason, operator, output)?;
        }
    }
    Ok(Code::Done)
}

fn init(keys: &Keys, days: u32, output: Format) -> Result<(), Failure> {
    let workspace = Workspace::open(&keys.repository)?;
    let folder = keys_folder(&workspace, &keys.keys)?;
    let cluster = workspace.cluster()?;
    let certificate = workspace.inside(&ca_path(&workspace)?)?;
    if certificate.exists() {
        let message = format!("{} exists: the cluster has its authority", certificate.display());
        return Err(Failure::new(Code::State, message).hint("a new authority means new certificates for everybody"));
    }
    let password = keys.password_file.as_deref().map(passphrase).transpose()?;
    let (_, issued) = Authority::create(&cluster, OffsetDateTime::now_utc(), days)?;
    make_keys_folder(&workspace, &folder)?;
    let key = folder.join(CA_KEY);
    match &password {
        Some(password) => write_private(&key, &PrivateKey::from_pem(&issued.key_pem)?.sealed_pem(password)?)?,
        None => write_private(&key, &issued.key_pem)?,
    }
    write_public(&certificate, &issued.certificate_pem)?;
    let encrypted = password.is_some();
    if !encrypted {
        eprintln!(
            "warning: {} is not encrypted, and whoever reads it is the cluster: `florctl ca password \
             --new-password-file FILE` encrypts it",
            key.display()
        );
    }
    let value = json!({ "cluster": cluster, "certificate": certificate, "key": key, "encrypted": encrypted });
    output.print(&value, || {
        let care = match encrypted {
            true => "keep it offline; whoever has it and its password is the cluster",
            false => "it has no password: keep it offline; whoever has it is the cluster",
        };
        format!("authority of {cluster}: {}\nits key: {} ({care})", certificate.display(), key.display())
    })
}

fn password(keys: &Keys, new: &Path, output: Format) -> Result<(), Failure> {
    let workspace = Workspace::open(&keys.repository)?;
    let folder = keys_folder(&workspace, &keys.keys)?;
    let sealed = private_key(&folder, keys)?.sealed_pem(&passphrase(new)?)?;
    let key = folder.join(CA_KEY);
    replace_private(&key, &sealed)?;
    output.print(&json!({ "key": key }), || format!("{} has a new password", key.display()))
}

fn missing(keys: &Keys, output: Format) -> Result<(), Failure> {
    let workspace = Workspace::open(&keys.repository)?;
    let folder = keys_folder(&workspace, &keys.keys)?;
    let authority = authority(&workspace, &folder, keys)?;
    let known = |subject: &Subject| kept_key(&workspace, &folder, subject);
    let made = issue_missing(&workspace.repo, &authority, OffsetDateTime::now_utc(), &keys.operator, known)?;
    // The log first: a certificate that nobody knows of is worse than a line without its file.
    workspace.append_log(&made.log_lines)?;
    let bar = progress::bar(made.holders.len(), "writing");
    let mut written: Vec<Value> = Vec::new();
    for holder in &made.holders {
        let stem = holder.file_stem();
        let certificate = match &holder.repository_path {
            Some(path) => workspace.inside(path)?,
            None => folder.join(format!("{stem}.crt")),
        };
        replace_private(&folder.join(format!("{stem}.key")), &holder.issued.key_pem)?;
        write_public(&certificate, &holder.issued.certificate_pem)?;
        written.push(json!({ "subject": holder.subject.to_string(), "certificate": certificate }));
        bar.inc(1);
    }
    bar.finish_and_clear();
    let revoked: Vec<String> = made.revoked.iter().map(ToString::to_string).collect();
    output.print(&json!({ "issued": written, "revoked": revoked, "keys": folder }), || {
        let mut text = match made.holders.as_slice() {
            [] if revoked.is_empty() => "everybody has a certificate".to_owned(),
            [] => "everybody else has a certificate".to_owned(),
            holders => {
                let names: Vec<String> = holders.iter().map(|holder| format!("  {}\n", holder.subject)).collect();
                format!("{}{} certificates, keys in {}", names.concat(), holders.len(), folder.display())
            }
        };
        if !revoked.is_empty() {
            text += &format!("\nrevoked, so that they get none: {}", revoked.join(", "));
        }
        text
    })
}

fn issue(keys: &Keys, holder: &Holder, new_key: bool, output: Format) -> Result<(), Failure> {
    let subject = holder.subject()?;
    let workspace = Workspace::open(&keys.repository)?;
    let folder = keys_folder(&workspace, &keys.keys)?;
    let authority = authority(&workspace, &folder, keys)?;
    let stem = file_stem(&subject);
    let (key, certificate) = (folder.join(format!("{stem}.key")), folder.join(format!("{stem}.crt")));
    let unreadable = |error| Failure::file(&key, &error);
    if let Subject::Signer(name) = &subject {
        let known = key_in(&folder, &subject).map_err(unreadable)?;
        signer::may_have(&workspace, name, &key, known.as_deref(), new_key)?;
    }
    let (now, days) = (OffsetDateTime::now_utc(), days(&workspace, holder, &subject));
    let kept = match new_key || is_revoked(&workspace, authority.cluster(), &subject) {
        true => None,
        false => kept_key(&workspace, &folder, &subject).map_err(unreadable)?,
    };
    let issued = match &kept {
        Some(key) => authority.renew(key, &subject, now, days)?,
        None => authority.issue(&subject, now, days)?,
    };
    record(&workspace, &authority, &subject, &issued.certificate, now, &keys.operator)?;
    if kept.is_none() {
        replace_private(&key, &issued.key_pem)?;
    }
    write_public(&certificate, &issued.certificate_pem)?;
    if let Some(spec) = signer::spec(&workspace, &subject)
        && let Some(path) = &spec.cert
    {
        write_public(&workspace.inside(&path.value)?, &issued.certificate_pem)?;
    }
    let new = kept.is_none();
    let value = json!({ "subject": subject.to_string(), "key": key, "new_key": new, "certificate": certificate });
    output.print(&value, || {
        let what = if new { "a new key" } else { "the same key" };
        format!("{subject}: {} for {what}, {}", certificate.display(), key.display())
    })
}

/// The same, for another certificate. The key of a principal counts only with its own certificate beside it, and not if
/// that is revoked: somebody else may have the key, whatever others the principal was given since.
fn kept_key(workspace: &Workspace, folder: &Path, subject: &Subject) -> io::Result<Option<Zeroizing<String>>> {
    let Some(key) = key_in(folder, subject)? else { return Ok(None) };
    if matches!(subject, Subject::Signer(_)) {
        return Ok(Some(key));
    }
    let Ok(pem) = fs::read(folder.join(format!("{}.crt", file_stem(subject)))) else { return Ok(None) };
    let counts = Certificate::from_pem(&pem).is_ok_and(|certificate| {
        let said = workspace.repo.log.as_ref().and_then(|log| log.last(&certificate.fingerprint()));
        said.is_some_and(|said| said.event == Kind::Sign) && belongs(&key, &certificate)
    });
    Ok(Some(key).filter(|_| counts))
}

/// The holder's key in the folder, PEM, if there is one.
fn key_in(folder: &Path, subject: &Subject) -> io::Result<Option<Zeroizing<String>>> {
    match fs::read_to_string(folder.join(format!("{}.key", file_stem(subject)))) {
        Ok(pem) => Ok(Some(Zeroizing::new(pem))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn sign(csr: &Path, keys: &Keys, holder: &Holder, out: Option<&Path>, output: Format) -> Result<(), Failure> {
    let subject = holder.subject()?;
    let workspace = Workspace::open(&keys.repository)?;
    let folder = keys_folder(&workspace, &keys.keys)?;
    let authority = authority(&workspace, &folder, keys)?;
    let request = fs::read_to_string(csr).map_err(|error| Failure::file(csr, &error))?;
    let now = OffsetDateTime::now_utc();
    let (pem, certificate) = authority.sign(&request, &subject, now, days(&workspace, holder, &subject))?;
    if let Subject::Signer(name) = &subject {
        signer::may_be(&workspace, name, &certificate)?;
    }
    record(&workspace, &authority, &subject, &certificate, now, &keys.operator)?;
    if let Some(spec) = signer::spec(&workspace, &subject)
        && let Some(path) = &spec.cert
    {
        write_public(&workspace.inside(&path.value)?, &pem)?;
    }
    match out {
        None => output.print(&json!({ "subject": subject.to_string(), "certificate": pem }), || pem.clone()),
        Some(path) => {
            write_public(path, &pem)?;
            let value = json!({ "subject": subject.to_string(), "certificate": path });
            output.print(&value, || format!("{subject}: {}", path.display()))
        }
    }
}

fn intermediate(csr: &Path, keys: &Keys, days: u32, out: Option<&Path>, output: Format) -> Result<(), Failure> {
    let workspace = Workspace::open(&keys.repository)?;
    let folder = keys_folder(&workspace, &keys.keys)?;
    let authority = authority(&workspace, &folder, keys)?;
    let request = fs::read_to_string(csr).map_err(|error| Failure::file(csr, &error))?;
    let pem = authority.intermediate(&request, OffsetDateTime::now_utc(), days)?;
    let Some(path) = out else {
        let value = json!({ "cluster": authority.cluster(), "certificate": pem });
        return output.print(&value, || pem.clone());
    };
    write_public(path, &pem)?;
    let value = json!({ "cluster": authority.cluster(), "certificate": path });
    output.print(&value, || format!("an authority below {}'s: {}", authority.cluster(), path.display()))
}

fn revoke(workspace: &Workspace, holder: &Holder, reason: &str, operator: &str, output: Format) -> Result<(), Failure> {
    let subject = holder.subject()?;
    let id = SpiffeId::new(&workspace.cluster()?, subject.clone());
    let revoked = revoke_all(workspace, &[id], reason, operator)?;
    if revoked.is_empty() {
        return Err(Failure::new(Code::State, format!("enrollment.log has no valid certificate of {subject}")));
    }
    output.print(&json!({ "subject": subject.to_string(), "revoked": revoked }), || {
        format!(
            "{subject}: {} revoked in the log. It takes effect when {subject} is out of the YAML (or has a new \
             certificate) and the next version is published and synced; at once with florctl revoke.",
            revoked.len()
        )
    })
}

/// Records that the certificates of `ids` count no longer; says which.
pub(super) fn revoke_all(
    workspace: &Workspace,
    ids: &[SpiffeId],
    reason: &str,
    operator: &str,
) -> Result<Vec<Digest>, Failure> {
    let mut log = workspace.repo.log.clone().unwrap_or_default();
    let mut lines = String::new();
    let mut revoked = Vec::new();
    for id in ids {
        while let Some(valid) = log.valid(id).cloned() {
            revoked.push(valid.fingerprint_sha256);
            lines += &log.append(Entry {
                ts: OffsetDateTime::now_utc(),
                event: Kind::Revoke,
                spiffe_id: id.clone(),
                fingerprint_sha256: valid.fingerprint_sha256,
                serial: valid.serial,
                not_after: valid.not_after,
                operator: operator.to_owned(),
                reason: Some(reason.to_owned()),
            })?;
        }
    }
    workspace.append_log(&lines)?;
    Ok(revoked)
}

fn record(
    workspace: &Workspace,
    authority: &Authority,
    subject: &Subject,
    certificate: &Certificate,
    now: OffsetDateTime,
    operator: &str,
) -> Result<(), Failure> {
    let id = SpiffeId::new(authority.cluster(), subject.clone());
    let mut log = workspace.repo.log.clone().unwrap_or_default();
    workspace.append_log(&log.append(entry(certificate, id, now, operator))?)
}

/// Whether the log says that nothing which the holder had counts any more: then the key is nobody's.
fn is_revoked(workspace: &Workspace, cluster: &ClusterName, subject: &Subject) -> bool {
    let id = SpiffeId::new(cluster, subject.clone());
    workspace.repo.log.as_ref().is_some_and(|log| log.is_revoked(&id))
}

fn days(workspace: &Workspace, holder: &Holder, subject: &Subject) -> u32 {
    holder.days.unwrap_or_else(|| match subject {
        Subject::Signer(_) => SIGNER_DAYS,
        Subject::User(_) | Subject::Service { .. } | Subject::Node(_) => principal_days(workspace),
    })
}

/// How long the repository wants certificates of principals to last.
pub(super) fn principal_days(workspace: &Workspace) -> u32 {
    workspace.repo.cluster.as_ref().map_or(90, |cluster| cluster.cert_validity_days)
}

fn ca_path(workspace: &Workspace) -> Result<String, Failure> {
    let path = workspace.repo.cluster.as_ref().and_then(|cluster| cluster.ca_cert.as_ref());
    let path = path.ok_or_else(|| Failure::new(Code::Findings, "cluster.yaml has no crypto.ca_cert"))?;
    Ok(path.value.clone())
}

/// The cluster's authority, with its key.
pub(super) fn authority(workspace: &Workspace, folder: &Path, keys: &Keys) -> Result<Authority, Failure> {
    let certificate = workspace.inside(&ca_path(workspace)?)?;
    let pem =
        fs::read_to_string(&certificate).map_err(|error| Failure::file(&certificate, &error).hint(NO_AUTHORITY))?;
    Ok(Authority::open(&pem, &private_key(folder, keys)?.pem())?)
}

fn private_key(folder: &Path, keys: &Keys) -> Result<PrivateKey, Failure> {
    let path = folder.join(CA_KEY);
    let text = fs::read_to_string(&path).map(Zeroizing::new);
    let text = text.map_err(|error| Failure::file(&path, &error).hint(NO_AUTHORITY))?;
    let password = keys.password_file.as_deref().map(passphrase).transpose()?;
    Ok(PrivateKey::from_file(&text, password.as_ref())?)
}

/// The folder for keys, which need not exist; never a part of the repository, which is committed and shared.
pub(super) fn keys_folder(workspace: &Workspace, folder: &Path) -> Result<PathBuf, Failure> {
    // What does not exist would be made in the nearest folder that does.
    let there = folder.ancestors().find(|above| above.exists()).unwrap_or(Path::new("."));
    let places = there.canonicalize().and_then(|there| Ok((there, workspace.root.canonicalize()?)));
    let (keys, root) = places.map_err(|error| Failure::file(folder, &error))?;
    if keys.starts_with(&root) {
        let message = format!("{} is inside of the repository", folder.display());
        return Err(Failure::usage(message).hint("private keys are never committed: choose a folder elsewhere"));
    }
    Ok(folder.to_owned())
}

/// Makes the folder for keys, for its owner alone.
fn make_keys_folder(workspace: &Workspace, folder: &Path) -> Result<(), Failure> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(folder).map_err(|error| Failure::file(folder, &error))?;
    // Where a path with .. leads is known when all of it exists.
    keys_folder(workspace, folder).map(|_| ())
}

pub(super) fn write_public(path: &Path, pem: &str) -> Result<(), Failure> {
    let write = || {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(path, pem)
    };
    write().map_err(|error| Failure::file(path, &error))
}

/// What is renewed takes the place of the old one at once, so that a crash leaves one of the two.
pub(super) fn replace_private(path: &Path, pem: &str) -> Result<(), Failure> {
    let next = path.with_extension("new");
    if next.exists() {
        fs::remove_file(&next).map_err(|error| Failure::file(&next, &error))?;
    }
    write_private(&next, pem)?;
    fs::rename(&next, path).map_err(|error| Failure::file(path, &error))
}
