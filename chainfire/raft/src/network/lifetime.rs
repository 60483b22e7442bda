//! The certificates between the servers are made on one day and end on one day, all of them: then no server that starts
//! is let in any more. Whoever operates them has to hear of it before.

use std::{
    iter,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use holdfast_service::Stop;
use prometheus_client::metrics::gauge::Gauge;
use tokio::time::sleep;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::certificate::certificates;
use crate::{Error, PeerTls};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// So many days before a certificate ends the log begins to say so.
const NOTICE: u64 = 30;

/// Says every day which of this server's files is soon of no use, and keeps `ends` at the end of its own certificate in
/// Unix time.
pub(crate) async fn watch_over(tls: PeerTls, ends: Gauge, stop: Stop) {
    loop {
        // A chain begins with what it is about; a bundle of authorities is as good as its newest. Files that cannot be read
        // are complained about by those who need them.
        let own = ends_of(&tls.certificate).ok().and_then(|found| found.first().copied());
        let authority =
            tls.trust.authority().map(|ca| (ca, ends_of(ca).ok().and_then(|found| found.into_iter().max())));
        ends.set(own.and_then(|end| i64::try_from(end).ok()).unwrap_or(0));
        for (file, end) in iter::once((tls.certificate.as_path(), own)).chain(authority) {
            let Some(end) = end else { continue };
            if let Some(days) = notice(end, SystemTime::now()) {
                tracing::warn!(
                    file = %file.display(),
                    days,
                    "certificates between the servers end soon, most likely on all of them: holdfast peer-ca issue makes \
                     new ones, and a file that is replaced is used without a restart"
                );
            }
        }
        tokio::select! {
            () = stop.requested() => return,
            () = sleep(DAY) => {}
        }
    }
}

/// When each of the certificates in `file` ends, in Unix time.
fn ends_of(file: &Path) -> Result<Vec<u64>, Error> {
    let ends = certificates(file)?.into_iter().filter_map(|der| {
        let (_, certificate) = X509Certificate::from_der(&der).ok()?;
        u64::try_from(certificate.validity().not_after.timestamp()).ok()
    });
    Ok(ends.collect())
}

/// The whole days that are left, if they are few.
fn notice(end: u64, now: SystemTime) -> Option<u64> {
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    Some(end.saturating_sub(now) / DAY.as_secs()).filter(|days| *days < NOTICE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer_ca;

    #[test]
    fn the_last_month_is_told_day_by_day() {
        let at = |days: u64| UNIX_EPOCH + DAY * u32::try_from(days).unwrap();
        let end = DAY.as_secs() * 100;
        assert_eq!(notice(end, at(69)), None);
        assert_eq!(notice(end, at(71)), Some(29));
        assert_eq!(notice(end, at(100)), Some(0));
        assert_eq!(notice(end, at(200)), Some(0));
    }

    #[test]
    fn what_is_issued_lasts_two_years() {
        let folder = tempfile::tempdir().unwrap();
        peer_ca::init(folder.path()).unwrap();
        let issued = peer_ca::issue(folder.path(), "a", &[], &folder.path().join("a")).unwrap();
        let end = ends_of(&issued.certificate).unwrap()[0];
        assert_eq!(notice(end, SystemTime::now()), None);
        assert!(notice(end, SystemTime::now() + DAY * 2 * 365).is_some());
    }
}
