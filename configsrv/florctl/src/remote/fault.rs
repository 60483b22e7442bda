//! Why a server could not be spoken to, and whether trying again helps.

use std::{error::Error, io};

use rustls::{CertificateError, InvalidMessage};

use crate::failure::{Code, Failure};

/// What a failed connection to `url` means for the caller of this program; `places` says how to name other servers.
pub(super) fn failed(url: &str, error: &(dyn Error + 'static), places: &str) -> Failure {
    match tls(error) {
        Some(rustls::Error::InvalidCertificate(why)) => {
            Failure::new(Code::NotTrusted, format!("{url}: the server's certificate is not accepted: {}", said(why)))
                .hint("--ca (or HOLDFAST_CA) names the authority that servers' certificates are checked against")
        }
        Some(rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType)) => {
            Failure::usage(format!("{url}: the port answers without TLS"))
                .hint("write http:// for it; a token goes there from the same machine only")
        }
        Some(_) | None => Failure::new(Code::Unreachable, format!("{url}: {}", innermost(error))).hint(places),
    }
}

fn said(why: &CertificateError) -> String {
    match why {
        CertificateError::UnknownIssuer => "no authority that is trusted here issued it".to_owned(),
        why => why.to_string(),
    }
}

/// The cause says what a person can act on; what is around it repeats the URL.
fn innermost<'e>(error: &'e (dyn Error + 'static)) -> &'e (dyn Error + 'static) {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause
}

fn tls<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e rustls::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<rustls::Error>() {
            return Some(found);
        }
        // An I/O error keeps what it was made of from those who ask for its source.
        next = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => {
                let inner: &(dyn Error + 'static) = inner;
                Some(inner)
            }
            None => error.source(),
        };
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As clients wrap what TLS says.
    fn wrapped(error: rustls::Error) -> io::Error {
        io::Error::other(io::Error::new(io::ErrorKind::InvalidData, error))
    }

    #[test]
    fn trying_again_makes_no_certificate_better() {
        let code = |error: io::Error| failed("https://hub:8080", &error, "").code();
        let untrusted = || rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        assert_eq!(code(wrapped(untrusted())), Code::NotTrusted);
        assert_eq!(code(wrapped(CertificateError::NotValidForName.into())), Code::NotTrusted);
        assert_eq!(code(wrapped(InvalidMessage::InvalidContentType.into())), Code::Usage);
        assert_eq!(code(wrapped(rustls::Error::HandshakeNotComplete)), Code::Unreachable);
        assert_eq!(code(io::ErrorKind::ConnectionRefused.into()), Code::Unreachable);
        let said = failed("https://hub:8080", &wrapped(untrusted()), "").message().to_owned();
        assert_eq!(
            said,
            "https://hub:8080: the server's certificate is not accepted: no authority that is trusted here issued it"
        );
    }
}
