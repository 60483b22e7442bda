//! `--auto-tls` and `--peer-auto-tls`: certificates that nobody vouches for, so that a line is encrypted and no more.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use rcgen::{CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose};
use time::{Duration, OffsetDateTime};

use super::url::Url;

/// Years that `--self-signed-cert-validity` may say.
pub(super) const YEARS: std::ops::RangeInclusive<u32> = 1..=100;

/// Where such a certificate lies, and what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SelfSigned {
    folder: PathBuf,
    hosts: Vec<String>,
    years: u32,
}

impl SelfSigned {
    /// In the folder `purpose` of the data folder's `fixtures`, as etcd has it, for the hosts of `urls`.
    pub(super) fn new(data_dir: &Path, purpose: &str, urls: &[Url], years: u32) -> Self {
        let mut hosts: Vec<_> = urls.iter().map(|url| url.host().to_owned()).collect();
        hosts.sort();
        hosts.dedup();
        Self { folder: data_dir.join("fixtures").join(purpose), hosts, years }
    }

    pub(super) fn certificate(&self) -> PathBuf {
        self.folder.join("cert.pem")
    }

    pub(super) fn key(&self) -> PathBuf {
        self.folder.join("key.pem")
    }

    /// Makes certificate and key, unless they are there from an earlier start.
    pub(super) fn provide(&self) -> io::Result<()> {
        if self.certificate().is_file() && self.key().is_file() {
            return Ok(());
        }
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let certificate = self.parameters().and_then(|params| params.self_signed(&key)).map_err(io::Error::other)?;
        fs::create_dir_all(&self.folder)?;
        // The certificate comes last: a key alone is half of an attempt, and is written anew.
        write(&self.key(), key.serialize_pem().as_bytes(), 0o600)?;
        write(&self.certificate(), certificate.pem().as_bytes(), 0o644)
    }

    fn parameters(&self) -> Result<CertificateParams, rcgen::Error> {
        let mut params = CertificateParams::new(self.hosts.clone())?;
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "holdfast");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let now = OffsetDateTime::now_utc();
        params.not_before = now;
        params.not_after = now + Duration::days(365 * i64::from(self.years));
        Ok(params)
    }
}

fn write(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_made_once_and_names_its_hosts() {
        let folder = tempfile::tempdir().unwrap();
        let urls = ["https://localhost:2379", "https://127.0.0.1:2379", "https://localhost:2381"];
        let urls = urls.map(|url| url.parse().unwrap());
        let made = SelfSigned::new(folder.path(), "client", &urls, 2);
        made.provide().unwrap();
        let pem = fs::read(made.certificate()).unwrap();
        let (_, pem) = x509_parser::pem::parse_x509_pem(&pem).unwrap();
        let certificate = pem.parse_x509().unwrap();
        let names = certificate.subject_alternative_name().unwrap().unwrap().value.general_names.len();
        assert_eq!(names, 2);
        let key = fs::read(made.key()).unwrap();
        made.provide().unwrap();
        assert_eq!(fs::read(made.key()).unwrap(), key);
    }
}
