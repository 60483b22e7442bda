//! The CA of the peer port: files made by `holdfast peer-ca`, never state of the plane, because a plane that was
//! down for a week must find its quorum again. A certificate names its server's slot and nothing else counts.

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
};
use time::{Duration, OffsetDateTime};

use crate::network::peer_dns_name;

const CA_CERTIFICATE: &str = "peer-ca.pem";
const CA_KEY: &str = "peer-ca.key";
const VALID: Duration = Duration::days(2 * 365);
/// Clocks of servers differ a little.
const BACKDATED: Duration = Duration::hours(1);

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{}: {error}", path.display())]
    Io { path: PathBuf, error: std::io::Error },
    /// Keys are never overwritten.
    #[error("{} exists already", .0.display())]
    Exists(PathBuf),
    #[error("{0:?} is not a server name: use a-z, 0-9, - and _, at most 63")]
    Name(String),
    #[error("certificate: {0}")]
    Certificate(#[from] rcgen::Error),
}

/// Files of one server's certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    pub ca: PathBuf,
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// Makes a new CA in `dir` (`peer-ca.pem`, `peer-ca.key`), valid for two years, and returns its certificate's path.
/// To replace a CA, make another one in another folder and give the servers both certificates for a while.
pub fn init(dir: &Path) -> Result<PathBuf, Error> {
    fs::create_dir_all(dir).map_err(io(dir))?;
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name = common_name("Holdfast peer CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    valid_from_now(&mut params);
    let certificate = params.self_signed(&key)?;
    write_new(&dir.join(CA_KEY), key.serialize_pem().as_bytes(), 0o600)?;
    let path = dir.join(CA_CERTIFICATE);
    write_new(&path, certificate.pem().as_bytes(), 0o644)?;
    Ok(path)
}

/// Issues a certificate for the server `name` with the CA in `dir`, valid for two years. What the server needs goes to
/// the folder `out`: `peer.crt`, `peer.key` and the CA's certificate as `ca.crt`. `hosts` are further names and
/// addresses for tools that check them; peers look at the slot's name only.
pub fn issue(dir: &Path, name: &str, hosts: &[String], out: &Path) -> Result<Issued, Error> {
    if !is_label(name) {
        return Err(Error::Name(name.to_owned()));
    }
    let ca = dir.join(CA_CERTIFICATE);
    let ca_key = dir.join(CA_KEY);
    let signing = KeyPair::from_pem(&fs::read_to_string(&ca_key).map_err(io(&ca_key))?)?;
    let ca_pem = fs::read_to_string(&ca).map_err(io(&ca))?;
    let issuer = Issuer::from_ca_cert_pem(&ca_pem, signing)?;
    let names: Vec<String> = std::iter::once(peer_dns_name(name)).chain(hosts.iter().cloned()).collect();
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = common_name(name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    valid_from_now(&mut params);
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let certificate = params.signed_by(&key, &issuer)?;
    fs::create_dir_all(out).map_err(io(out))?;
    let issued = Issued { ca: out.join("ca.crt"), certificate: out.join("peer.crt"), key: out.join("peer.key") };
    write_new(&issued.key, key.serialize_pem().as_bytes(), 0o600)?;
    write_new(&issued.ca, ca_pem.as_bytes(), 0o644)?;
    write_new(&issued.certificate, certificate.pem().as_bytes(), 0o644)?;
    Ok(issued)
}

/// Whether `name` can be in a DNS name and in a file name.
fn is_label(name: &str) -> bool {
    let label = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    (1..=63).contains(&name.len()) && name.chars().all(label)
}

fn common_name(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

fn valid_from_now(params: &mut CertificateParams) {
    let now = OffsetDateTime::now_utc();
    params.not_before = now - BACKDATED;
    params.not_after = now + VALID;
}

fn write_new(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Error> {
    let opened = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    let mut file = opened.map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => Error::Exists(path.to_owned()),
        _ => Error::Io { path: path.to_owned(), error },
    })?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(io(path))
}

fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.to_owned();
    move |error| Error::Io { path, error }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use rustls_pki_types::{CertificateDer, pem::PemObject as _};

    use super::*;
    use crate::network::slot_name;

    #[test]
    fn a_certificate_names_its_slot_and_keys_are_private() {
        let dir = tempfile::tempdir().unwrap();
        init(dir.path()).unwrap();
        let out = dir.path().join("cp1");
        let issued = issue(dir.path(), "cp1", &["127.0.0.1".into(), "cp1.example".into()], &out).unwrap();
        let der = CertificateDer::from_pem_file(&issued.certificate).unwrap();
        assert_eq!(slot_name(&der).unwrap(), "cp1");
        for key in [issued.key, dir.path().join(CA_KEY)] {
            assert_eq!(fs::metadata(key).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn keys_are_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        init(dir.path()).unwrap();
        assert!(matches!(init(dir.path()), Err(Error::Exists(_))));
        let out = dir.path().join("cp1");
        issue(dir.path(), "cp1", &[], &out).unwrap();
        assert!(matches!(issue(dir.path(), "cp1", &[], &out), Err(Error::Exists(_))));
        assert!(matches!(issue(dir.path(), "../cp1", &[], &out), Err(Error::Name(_))));
    }

    #[test]
    fn a_certificate_for_no_or_two_servers_is_refused() {
        let certificate = |names: &[&str]| {
            let names = names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
            let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
            CertificateParams::new(names).unwrap().self_signed(&key).unwrap().der().to_vec()
        };
        assert!(slot_name(&certificate(&["cp1.example"])).is_err());
        assert!(slot_name(&certificate(&["cp1.peer.holdfast", "cp2.peer.holdfast"])).is_err());
        assert!(slot_name(b"not a certificate").is_err());
    }
}
