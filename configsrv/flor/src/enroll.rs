use std::{
    env, fmt, fs,
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use configsrv_fleet::{ClusterName, Signer, SpiffeId, Subject};
use holdfast_proto::iam::{EnrollRequest, EnrollResponse, enrollment_client::EnrollmentClient};
use iam_ca::{KeyAlgorithm, PrivateKey};
use rcgen::KeyPair;
use ring::digest::{SHA256, digest};
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use serde::Serialize;
use tonic::transport::{Certificate, ClientTlsConfig};
use x509_parser::{certificate::X509Certificate, prelude::FromDer as _};

use crate::{
    Error,
    certificate::{self, pem},
    cli::Enroll,
    cluster::Cluster,
    disk::{Attributes, Disk, RealDisk, erase, save},
    home::{Home, Layout},
    server::{connect, refused},
    trust::Trust,
};

/// What a join token says about the cluster: whose token it is, and by which key its authority is known.
struct JoinToken {
    text: String,
    node: String,
    authority: [u8; 32],
}

/// Where to join, and under which name.
pub(crate) struct Invitation {
    pub token: String,
    pub api: Vec<String>,
    pub servers: Vec<String>,
    /// Authorities of the servers' TLS certificates, PEM.
    pub servers_ca: Option<String>,
    /// Whose artifacts count; without any, the first artifact says so.
    pub signers: Vec<Signer>,
    pub name: Option<String>,
    /// The trust domain that whoever invited meant.
    pub cluster: Option<ClusterName>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Enrolled {
    pub(crate) spiffe_id: String,
    pub(crate) folder: String,
    /// Whether the servers have given it a certificate of theirs.
    pub(crate) known: bool,
}

/// Joins with what the command line says.
pub(crate) async fn enroll(home: &Home, arguments: &Enroll) -> Result<Enrolled, Error> {
    let read = |path: &PathBuf| fs::read_to_string(path).map_err(|error| Error::file(path, &error));
    let token = match &arguments.join_token_file {
        Some(path) => read(path)?,
        None => env::var("FLOR_JOIN_TOKEN")
            .map_err(|_| Error::Usage("no join token: name a file, or set FLOR_JOIN_TOKEN".into()))?,
    };
    let invitation = Invitation {
        token,
        api: arguments.api.clone(),
        servers: arguments.servers.clone(),
        servers_ca: arguments.ca_file.as_ref().map(read).transpose()?,
        signers: Vec::new(),
        name: arguments.name.clone(),
        cluster: None,
    };
    join(home, &invitation).await
}

/// Makes a key, has it certified, and writes down whom to trust and whom to ask.
pub(crate) async fn join(home: &Home, invitation: &Invitation) -> Result<Enrolled, Error> {
    let token = JoinToken::parse(invitation.token.trim());
    let token = token.ok_or_else(|| Error::Usage("this is not a join token".into()))?;
    // The key lies on disk before the token is spent: a repetition asks for the same key, as the server demands.
    let name = invitation.name.clone().unwrap_or_else(|| token.node.clone());
    let waiting = home.waiting_key(&name);
    let key = key(&waiting)?;
    let request = EnrollRequest { join_token: token.text.clone(), csr_der: certificate::request(&key)?.into() };
    let answer = ask(&invitation.api, invitation.servers_ca.as_deref(), &request).await?;
    let identity = check(&token, &answer)?;
    if let Some(meant) = invitation.cluster.as_ref().filter(|meant| *meant != identity.cluster()) {
        return Err(Error::Untrusted(format!(
            "the servers are of the cluster {}, the bundle is of {meant}: nothing for this node would come from them",
            identity.cluster()
        )));
    }
    let Subject::Node(node) = identity.subject().clone() else {
        return Err(Error::Untrusted(format!("{identity} is not a node")));
    };
    let cluster = Cluster {
        cluster: identity.cluster().clone(),
        node,
        urls: invitation.servers.clone(),
        api: invitation.api.clone(),
        signers: invitation.signers.clone(),
    };
    let scope = invitation.name.clone().unwrap_or_else(|| identity.cluster().to_string());
    let layout = home.cluster(Some(&scope))?;
    write(&layout, &cluster, &key, &answer, invitation.servers_ca.as_deref())?;
    let _ = erase(&RealDisk, &waiting);
    Ok(Enrolled { spiffe_id: identity.to_string(), folder: layout.folder().display().to_string(), known: true })
}

impl JoinToken {
    /// `hfjoin.NODE.HASH.SECRET`; a node's name may contain dots.
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.strip_prefix("hfjoin.")?.rsplitn(3, '.');
        let (_secret, hash, node) = (parts.next()?, parts.next()?, parts.next()?);
        let authority = URL_SAFE_NO_PAD.decode(hash).ok()?.try_into().ok()?;
        Some(Self { text: text.to_owned(), node: node.to_owned(), authority })
    }
}

/// One server after the other, until one answers.
async fn ask(api: &[String], servers_ca: Option<&str>, request: &EnrollRequest) -> Result<EnrollResponse, Error> {
    let mut last = Error::Usage("no API address".into());
    for url in api {
        let tls = servers_ca.map(|pem| ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem)));
        let mut client = EnrollmentClient::new(connect(url, tls)?);
        match client.enroll(request.clone()).await.map_err(|status| refused(&status)) {
            Ok(answer) => return Ok(answer.into_inner()),
            Err(Error::Unreachable(text)) => last = Error::Unreachable(format!("{url}: {text}")),
            Err(error) => return Err(error),
        }
    }
    Err(last)
}

/// The key of an enrolment that was cut off, or a new one.
pub(crate) fn key(path: &Path) -> Result<KeyPair, Error> {
    if let Some(bytes) = RealDisk.read(path).map_err(|error| Error::file(path, &error))? {
        let text = String::from_utf8_lossy(&bytes);
        return KeyPair::from_pem(&text).map_err(|error| Error::Unexpected(format!("{}: {error}", path.display())));
    }
    let unexpected = |error: &dyn fmt::Display| Error::Unexpected(error.to_string());
    let key = PrivateKey::generate(KeyAlgorithm::Ed25519).map_err(|error| unexpected(&error))?.pem();
    put(path, key.as_bytes(), Attributes::PRIVATE)?;
    KeyPair::from_pem(&key).map_err(|error| unexpected(&error))
}

/// The answer is believed because its authority is the one that the join token knows, and because it certified this
/// node's name.
fn check(token: &JoinToken, answer: &EnrollResponse) -> Result<SpiffeId, Error> {
    let untrusted = |why: &str| Error::Untrusted(format!("the answer to the enrolment is not believed: {why}"));
    let mut authority = None;
    for der in &answer.ca_bundle {
        let certificate = X509Certificate::from_der(der).map_err(|_| untrusted("no certificate"))?.1;
        if digest(&SHA256, certificate.public_key().raw).as_ref() == token.authority {
            authority = Some(der.as_ref());
        }
    }
    let authority: &[u8] = authority.ok_or_else(|| untrusted("its authority is not the one in the join token"))?;
    let chain: Vec<&[u8]> = answer.certificate_chain.iter().map(AsRef::as_ref).collect();
    if let Err(fault) = iam_ca::leads_to(&chain, &[authority]) {
        return Err(untrusted(&format!("its chain does not lead to the authority: {fault}")));
    }
    let identity: SpiffeId = answer.spiffe_id.parse().map_err(|_| untrusted("no SPIFFE id"))?;
    match identity.subject() {
        Subject::Node(node) if node.as_str() == token.node => Ok(identity),
        _ => Err(untrusted("it names another node")),
    }
}

fn write(
    layout: &Layout,
    cluster: &Cluster,
    key: &KeyPair,
    answer: &EnrollResponse,
    servers_ca: Option<&str>,
) -> Result<(), Error> {
    let leaf = cluster.node.as_str();
    let chain: String = answer.certificate_chain.iter().map(|der| pem(der)).collect();
    let given = CertificateDer::pem_slice_iter(servers_ca.unwrap_or_default().as_bytes()).collect::<Result<_, _>>();
    let given = given.map_err(|_| Error::Usage("the servers' authority is not PEM".into()))?;
    let bundle: Vec<_> = answer.ca_bundle.iter().map(|der| CertificateDer::from(der.to_vec())).collect();
    put(&layout.key(leaf), key.serialize_pem().as_bytes(), Attributes::PRIVATE)?;
    put(&layout.certificate(leaf), chain.as_bytes(), Attributes::PUBLIC)?;
    Trust::enrolled(&bundle, given).save(&Trust::load(&RealDisk, layout)?, &RealDisk, layout)?;
    // Last: with it the enrolment is complete.
    cluster.save(&RealDisk, layout)
}

fn put(path: &Path, bytes: &[u8], attributes: Attributes) -> Result<(), Error> {
    save(&RealDisk, path, bytes, attributes).map_err(|error| Error::file(path, &error))
}

impl fmt::Display for Enrolled {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "enrolled as {}; state is in {}", self.spiffe_id, self.folder)?;
        if self.known {
            return Ok(());
        }
        write!(
            out,
            "\nthe servers do not know this node yet: before it can sync, hand in a join token of theirs\n    florctl iam \
             join-token create NODE --out FILE            # an operator\n    flor enroll --join-token-file FILE --api URL \
             --server URL   # here"
        )
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, PKCS_ED25519};

    use super::*;

    #[test]
    fn join_tokens_name_the_node_and_the_authority() {
        let hash = URL_SAFE_NO_PAD.encode([7; 32]);
        let token = JoinToken::parse(&format!("hfjoin.pier2.rack.{hash}.secret")).unwrap();
        assert_eq!((token.node.as_str(), token.authority), ("pier2.rack", [7; 32]));
        for text in ["", "hfjoin", "hfjoin.pier2.short.secret", &format!("other.pier2.{hash}.secret")] {
            assert!(JoinToken::parse(text).is_none(), "{text}");
        }
    }

    /// An authority, and its certificate for a node's key.
    fn certified() -> (Vec<u8>, Vec<u8>) {
        let authority_key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let authority = params.self_signed(&authority_key).unwrap();
        let issuer = rcgen::Issuer::new(params, authority_key);
        let leaf = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        let leaf = CertificateParams::default().signed_by(&leaf, &issuer).unwrap();
        (authority.der().to_vec(), leaf.der().to_vec())
    }

    #[test]
    fn only_the_authority_of_the_token_is_believed() {
        let ((authority, leaf), (other, foreign)) = (certified(), certified());
        let key = |der: &[u8]| {
            let certificate = X509Certificate::from_der(der).unwrap().1;
            URL_SAFE_NO_PAD.encode(digest(&SHA256, certificate.public_key().raw))
        };
        let token = JoinToken::parse(&format!("hfjoin.pier2.{}.secret", key(&authority))).unwrap();
        let answer = |chain: &[u8], bundle: &[u8], id: &str| EnrollResponse {
            certificate_chain: vec![chain.to_vec().into()],
            ca_bundle: vec![bundle.to_vec().into()],
            spiffe_id: id.to_owned(),
            ..EnrollResponse::default()
        };
        let pier2 = "spiffe://quay.test/node/pier2";
        assert_eq!(check(&token, &answer(&leaf, &authority, pier2)).unwrap().as_str(), pier2);
        for (what, answer) in [
            ("another authority", answer(&foreign, &other, pier2)),
            ("another authority's certificate", answer(&foreign, &authority, pier2)),
            ("another node", answer(&leaf, &authority, "spiffe://quay.test/node/pier3")),
            ("a user", answer(&leaf, &authority, "spiffe://quay.test/user/pier2")),
            ("no certificate", answer(b"x", &authority, pier2)),
            ("an empty chain", EnrollResponse { certificate_chain: Vec::new(), ..answer(&leaf, &authority, pier2) }),
        ] {
            assert!(matches!(check(&token, &answer), Err(Error::Untrusted(_))), "{what}");
        }
    }
}
