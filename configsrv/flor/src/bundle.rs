//! Bundles, on the node's side: enrolling with one, and asking for one with keys that stay here.

use std::{fs, io::Write as _, path::Path};

use configsrv_fleet::{
    NodeName, Subject,
    bundle::{Bundle, Request, Requests, Secret},
};
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use time::OffsetDateTime;
use zeroize::Zeroizing;

use crate::{
    Error, certificate,
    cluster::Cluster,
    disk::{Attributes, Disk as _, RealDisk, erase, save},
    enroll::{self, Enrolled, Invitation},
    home::{Home, Layout},
    identities::{IdentityStore, file_stem},
    trust::Trust,
};

/// Makes this machine the node that a bundle is for, or renews what it is.
pub(crate) async fn enroll(home: &Home, path: &Path, name: Option<&str>) -> Result<Enrolled, Error> {
    let bytes = fs::read(path).map(Zeroizing::new).map_err(|error| Error::file(path, &error))?;
    let bundle = Bundle::read(&bytes, OffsetDateTime::now_utc())?;
    let layout = home.cluster(Some(name.unwrap_or(bundle.cluster.as_str())))?;
    let known = layout.cluster().is_file().then(|| Cluster::load(&RealDisk, &layout)).transpose()?;
    if let Some(known) = known.as_ref().filter(|known| known.cluster != bundle.cluster || known.node != bundle.node) {
        return Err(Error::Untrusted(format!(
            "this machine is node {} of {}, the bundle is for node {} of {}; --as gives another cluster a place of its own",
            known.node, known.cluster, bundle.node, bundle.cluster
        )));
    }
    let store = IdentityStore::new(&layout, bundle.cluster.clone());
    let waiting = |subject: &Subject| key_of(home, &bundle.node, subject);
    store.take(&RealDisk, &bundle, waiting)?;
    let enrolled = layout.certificate(bundle.node.as_str()).is_file();
    let done = match &bundle.join_token {
        Some(token) if !enrolled => enroll::join(home, &invitation(&bundle, token, name)).await?,
        Some(_) | None => write_down(&bundle, &layout)?,
    };
    for identity in &bundle.identities {
        let _ = erase(&RealDisk, &home.waiting_identity(&bundle.node, &file_stem(identity.spiffe_id.subject())));
    }
    Ok(done)
}

fn invitation(bundle: &Bundle, token: &Secret, name: Option<&str>) -> Invitation {
    Invitation {
        token: token.expose().to_owned(),
        api: bundle.servers.api.clone(),
        servers: bundle.servers.urls.clone(),
        servers_ca: bundle.servers.ca.clone(),
        signers: bundle.signers.clone(),
        name: name.map(str::to_owned),
        cluster: Some(bundle.cluster.clone()),
    }
}

/// Whom to ask and whom to trust, on a node that the servers know already or will know by a token of its own.
fn write_down(bundle: &Bundle, layout: &Layout) -> Result<Enrolled, Error> {
    if let Some(pem) = &bundle.servers.ca {
        let given: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
        let given =
            given.map_err(|_| Error::Untrusted("the bundle's servers have an authority that is not PEM".into()))?;
        let before = Trust::load(&RealDisk, layout)?;
        before.given(given).save(&before, &RealDisk, layout)?;
    }
    let cluster = Cluster {
        cluster: bundle.cluster.clone(),
        node: bundle.node.clone(),
        urls: bundle.servers.urls.clone(),
        api: bundle.servers.api.clone(),
        signers: bundle.signers.clone(),
    };
    // Last: with it the enrolment is complete.
    cluster.save(&RealDisk, layout)?;
    let known = layout.certificate(cluster.node.as_str()).is_file();
    Ok(Enrolled { spiffe_id: cluster.spiffe_id().to_string(), folder: layout.folder().display().to_string(), known })
}

/// `flor id create`.
pub(crate) fn request(home: &Home, node: NodeName, principals: Vec<Subject>, out: Option<&Path>) -> Result<(), Error> {
    let mut subjects = vec![Subject::Node(node.clone())];
    for subject in principals {
        match &subject {
            Subject::User(_) | Subject::Service { .. } => {}
            Subject::Node(_) | Subject::Signer(_) => {
                return Err(Error::Usage(format!("{subject}: only users and services are on a node")));
            }
        }
        if !subjects.contains(&subject) {
            subjects.push(subject);
        }
    }
    let mut requests = Vec::new();
    for subject in subjects {
        let key = enroll::key(&home.waiting_identity(&node, &file_stem(&subject)))?;
        requests.push(Request { subject: subject.to_string(), csr: certificate::request_pem(&key)? });
    }
    let text = serde_json::to_string_pretty(&Requests::new(node, requests));
    let text = text.map_err(|error| Error::Unexpected(error.to_string()))?;
    match out {
        Some(path) => {
            save(&RealDisk, path, text.as_bytes(), Attributes::PUBLIC).map_err(|error| Error::file(path, &error))
        }
        None => writeln!(std::io::stdout(), "{text}").map_err(|error| Error::Unexpected(error.to_string())),
    }
}

fn key_of(home: &Home, node: &NodeName, subject: &Subject) -> Result<Option<Secret>, Error> {
    let path = home.waiting_identity(node, &file_stem(subject));
    let Some(bytes) = RealDisk.read(&path).map_err(|error| Error::file(&path, &error))? else { return Ok(None) };
    let text = String::from_utf8(bytes).map_err(|_| Error::Unexpected(format!("{} is damaged", path.display())))?;
    Ok(Some(Secret::new(Zeroizing::new(text))))
}
