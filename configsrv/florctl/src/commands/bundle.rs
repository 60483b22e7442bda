use std::{
    fs,
    path::{Path, PathBuf},
};

use configsrv_fleet::{
    NodeName, Signer, SpiffeId, Subject,
    bundle::{Bundle, Identity, Requests, Secret, Servers, belongs, principals},
    ca::{Authority, Issued},
    enrollment::Log,
    pki::Certificate,
    provision::{entry, file_stem},
};
use serde_json::json;
use time::{Duration, OffsetDateTime};
use zeroize::Zeroizing;

use crate::{
    cli::{Connection, IssueBundle},
    failure::{Code, Failure},
    output::Format,
    workspace::Workspace,
};

use super::ca::{authority, keys_folder, principal_days, replace_private, write_public};

/// A certificate that ends sooner is not carried to a node any more.
const LEAST_LEFT: Duration = Duration::days(7);

pub(super) fn run(options: &IssueBundle, connection: &Connection, output: Format) -> Result<Code, Failure> {
    let workspace = Workspace::open(&options.keys.repository)?;
    let folder = keys_folder(&workspace, &options.keys.keys)?;
    let out =
        outside(&workspace, options.out.clone().unwrap_or_else(|| folder.join(format!("{}.bundle", options.node))))?;
    let subjects = principals(&workspace.repo, &options.node);
    if subjects.is_empty() {
        return Err(Failure::usage(format!("there is no node \"{}\" in the repository", options.node)));
    }
    let authority = authority(&workspace, &folder, &options.keys)?;
    let mut bundle = Bundle::new(
        authority.cluster().clone(),
        options.node.clone(),
        authority.certificate_pem(),
        signers(&workspace, &authority)?,
        servers(&workspace, options, connection)?,
    );
    bundle.join_token = options.join_token_file.as_deref().map(secret).transpose()?;
    let mut desk = Desk {
        now: OffsetDateTime::now_utc(),
        days: options.validity.unwrap_or_else(|| principal_days(&workspace)),
        log: workspace.repo.log.clone().unwrap_or_default(),
        lines: String::new(),
        operator: &options.keys.operator,
        authority: &authority,
    };
    let mut fresh = Vec::new();
    match &options.csr {
        Some(path) => bundle.identities = desk.certify(&requests(path, &options.node)?, &subjects)?,
        None => {
            for subject in &subjects {
                let kept = if options.renew { None } else { desk.kept(&folder, subject)? };
                let identity = match kept {
                    Some(identity) => identity,
                    None => {
                        let issued = desk.issue(subject)?;
                        let identity = identity(&authority, subject, issued.certificate_pem.clone(), Some(&issued));
                        fresh.push((file_stem(subject), issued));
                        identity
                    }
                };
                bundle.identities.push(identity);
            }
        }
    }
    let issued = desk.lines.lines().count();
    // The log first: a certificate that nobody knows of is worse than a line without its file.
    workspace.append_log(&desk.lines)?;
    for (stem, issued) in &fresh {
        replace_private(&folder.join(format!("{stem}.key")), &issued.key_pem)?;
        write_public(&folder.join(format!("{stem}.crt")), &issued.certificate_pem)?;
    }
    replace_private(&out, bundle.write()?.expose())?;
    let names: Vec<String> = subjects_of(&bundle);
    let secret = bundle.join_token.is_some() || bundle.identities.iter().any(|identity| identity.key.is_some());
    let value = json!({ "bundle": out, "node": options.node, "identities": names, "issued": issued, "secret": secret });
    output.print(&value, || {
        let care =
            if secret { "\nit is as secret as the keys in it: carry it there, enrol, and remove it" } else { "" };
        format!("{} for {}: {}{care}", out.display(), options.node, names.join(", "))
    })?;
    Ok(Code::Done)
}

/// Issues, and keeps what is to be logged.
struct Desk<'a> {
    now: OffsetDateTime,
    days: u32,
    log: Log,
    lines: String,
    operator: &'a str,
    authority: &'a Authority,
}

impl Desk<'_> {
    fn issue(&mut self, subject: &Subject) -> Result<Issued, Failure> {
        let issued = self.authority.issue(subject, self.now, self.days)?;
        self.note(subject, &issued.certificate)?;
        Ok(issued)
    }

    fn certify(&mut self, requests: &Requests, subjects: &[Subject]) -> Result<Vec<Identity>, Failure> {
        let mut identities = Vec::new();
        for request in &requests.requests {
            let subject = request.subject()?;
            if !subjects.contains(&subject) {
                let message = format!("{} asks for {subject}, which is not on it", requests.node);
                return Err(Failure::new(Code::NotTrusted, message).hint("the repository says who is where"));
            }
            let (pem, certificate) = self.authority.sign(&request.csr, &subject, self.now, self.days)?;
            self.note(&subject, &certificate)?;
            identities.push(identity(self.authority, &subject, pem, None));
        }
        Ok(identities)
    }

    fn note(&mut self, subject: &Subject, certificate: &Certificate) -> Result<(), Failure> {
        let id = SpiffeId::new(self.authority.cluster(), subject.clone());
        self.lines += &self.log.append(entry(certificate, id, self.now, self.operator))?;
        Ok(())
    }

    /// The key and certificate in the folder, if they are good: a person has one key on all of their devices.
    fn kept(&self, folder: &Path, subject: &Subject) -> Result<Option<Identity>, Failure> {
        let stem = file_stem(subject);
        let (key, path) = (folder.join(format!("{stem}.key")), folder.join(format!("{stem}.crt")));
        if !key.exists() || !path.exists() {
            return Ok(None);
        }
        let pem = fs::read_to_string(&path).map_err(|error| Failure::file(&path, &error))?;
        let key = secret(&key)?;
        let id = SpiffeId::new(self.authority.cluster(), subject.clone());
        let good = Certificate::from_pem(pem.as_bytes()).is_ok_and(|certificate| {
            let known = self.log.valid(&id).is_some_and(|event| event.fingerprint_sha256 == certificate.fingerprint());
            known
                && certificate.spiffe_id() == Some(id)
                && certificate.is_signed_by(self.authority.certificate())
                && certificate.not_after > self.now + LEAST_LEFT
                && belongs(key.expose(), &certificate)
        });
        Ok(good.then(|| Identity { key: Some(key), ..identity(self.authority, subject, pem, None) }))
    }
}

fn identity(authority: &Authority, subject: &Subject, certificate: String, issued: Option<&Issued>) -> Identity {
    let spiffe_id = SpiffeId::new(authority.cluster(), subject.clone());
    Identity { spiffe_id, certificate, key: issued.map(|issued| Secret::new(issued.key_pem.clone())) }
}

fn subjects_of(bundle: &Bundle) -> Vec<String> {
    bundle.identities.iter().map(|identity| identity.spiffe_id.subject().to_string()).collect()
}

fn requests(path: &Path, node: &NodeName) -> Result<Requests, Failure> {
    let bytes = fs::read(path).map_err(|error| Failure::file(path, &error))?;
    let requests = Requests::read(&bytes)?;
    if requests.node == *node {
        Ok(requests)
    } else {
        Err(Failure::new(Code::NotTrusted, format!("{} is of node {}, not {node}", path.display(), requests.node)))
    }
}

/// Whose signatures the node is to believe: those of cluster.yaml.
fn signers(workspace: &Workspace, authority: &Authority) -> Result<Vec<Signer>, Failure> {
    let mut signers = Vec::new();
    for signer in workspace.repo.cluster.iter().flat_map(|cluster| &cluster.signers) {
        let key = signer.certificate.as_ref().and_then(|certificate| certificate.public_key);
        if let (Ok(name), Some(pubkey)) = (signer.name.value.parse(), key) {
            signers.push(Signer { spiffe_id: SpiffeId::signer(authority.cluster(), &name), pubkey });
        }
    }
    if signers.is_empty() {
        let failure = Failure::new(Code::Findings, "no signer in cluster.yaml has a certificate");
        return Err(failure.hint("`florctl ca issue --missing` makes them"));
    }
    Ok(signers)
}

fn servers(workspace: &Workspace, options: &IssueBundle, connection: &Connection) -> Result<Servers, Failure> {
    let mut urls = options.servers.clone();
    if urls.is_empty() {
        let read_urls = workspace.repo.cluster.iter().flat_map(|cluster| &cluster.config_server.read_urls);
        urls.extend(read_urls.map(|url| url.value.clone()));
    }
    urls.extend(connection.http.clone().filter(|_| urls.is_empty()));
    if urls.is_empty() {
        return Err(Failure::usage("the node would not know whom to ask").hint("name servers with --server"));
    }
    if options.join_token_file.is_some() && connection.api.is_none() {
        return Err(Failure::usage("the node would not know where to hand in its join token")
            .hint("name the API with --api (or HOLDFAST_API)"));
    }
    let read = |path: &PathBuf| fs::read_to_string(path).map_err(|error| Failure::file(path, &error));
    Ok(Servers {
        urls,
        api: connection.api.iter().cloned().collect(),
        ca: connection.ca.as_ref().map(read).transpose()?,
    })
}

fn secret(path: &Path) -> Result<Secret, Failure> {
    let text = fs::read_to_string(path).map(Zeroizing::new).map_err(|error| Failure::file(path, &error))?;
    Ok(Secret::new(Zeroizing::new(text.trim_end().to_owned())))
}

/// A place for secrets, which the repository is not.
fn outside(workspace: &Workspace, path: PathBuf) -> Result<PathBuf, Failure> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let (folder, root) = folder
        .canonicalize()
        .and_then(|folder| Ok((folder, workspace.root.canonicalize()?)))
        .map_err(|error| Failure::file(folder, &error))?;
    if folder.starts_with(&root) {
        let failure = Failure::usage(format!("{} is inside of the repository", path.display()));
        return Err(failure.hint("bundles are never committed: choose a folder elsewhere"));
    }
    Ok(path)
}
