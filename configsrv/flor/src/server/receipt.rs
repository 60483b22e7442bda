use configsrv_fleet::{Digest, Version};
use serde::Deserialize;

use crate::{Error, machine::Target};

/// The server's answer to a report.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Receipt {
    /// The one that it was asked with.
    pub nonce: Option<String>,
    /// The version that the report was about.
    pub version: Option<Version>,
    /// What is published for this node under that version; absent if nothing is.
    pub digest: Option<Digest>,
    /// The newest version that the server has.
    pub current: Option<Version>,
}

impl Receipt {
    /// Whether this proves that the server heard `nonce` now, and that it published `target` for this node. Without a
    /// digest it proves the first alone, and that is enough where the server cannot know the version: a person brought it
    /// here (`carried`), or everything that the server has is older, as after a restore.
    pub(super) fn proves(&self, nonce: &str, target: Target, carried: bool) -> Result<(), Error> {
        let Target { version, digest } = target;
        if self.nonce.as_deref() != Some(nonce) || self.version != Some(version) {
            return Err(Error::Unreachable("something answered, but not to what was asked: not confirmed".into()));
        }
        match self.digest {
            Some(published) if published == digest => Ok(()),
            Some(published) => Err(Error::Untrusted(format!(
                "the server published version {version} with digest {published}, this node runs {digest}"
            ))),
            None if carried || self.current.is_some_and(|current| current < version) => Ok(()),
            None => Err(Error::Untrusted(format!(
                "the server is past version {version} and has not published it for this node: not confirmed"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(number: u64) -> Version {
        Version::new(number).unwrap()
    }

    #[test]
    fn a_receipt_proves_what_it_was_asked_for_and_nothing_else() {
        let target = Target { version: version(7), digest: Digest::of(b"seven") };
        let good = Receipt {
            nonce: Some("n".into()),
            version: Some(version(7)),
            digest: Some(target.digest),
            current: Some(version(7)),
        };
        let with = |change: fn(&mut Receipt)| {
            let mut receipt = good.clone();
            change(&mut receipt);
            receipt
        };
        let forgot = with(|receipt| (receipt.digest, receipt.current) = (None, Some(version(6))));
        let empty = with(|receipt| (receipt.digest, receipt.current) = (None, Some(Version::NONE)));
        let unknown = with(|receipt| receipt.digest = None);
        let newer = with(|receipt| (receipt.digest, receipt.current) = (None, Some(version(9))));
        let silent = with(|receipt| (receipt.digest, receipt.current) = (None, None));
        let fork = with(|receipt| receipt.digest = Some(Digest::of(b"another")));
        for (what, receipt, proves, carried_proves) in [
            ("as it is to be", &good, Ok(()), Ok(())),
            ("another nonce", &with(|receipt| receipt.nonce = Some("m".into())), Err(7), Err(7)),
            ("no nonce", &with(|receipt| receipt.nonce = None), Err(7), Err(7)),
            ("another version", &with(|receipt| receipt.version = Some(version(8))), Err(7), Err(7)),
            ("no version", &with(|receipt| receipt.version = None), Err(7), Err(7)),
            ("another digest", &fork, Err(6), Err(6)),
            ("restored from a backup", &forgot, Ok(()), Ok(())),
            ("restored to nothing", &empty, Ok(()), Ok(())),
            ("nothing under the current number", &unknown, Err(6), Ok(())),
            ("nothing under a number of before", &newer, Err(6), Ok(())),
            ("nothing said at all", &silent, Err(6), Ok(())),
        ] {
            for (carried, expected) in [(false, proves), (true, carried_proves)] {
                let judged = receipt.proves("n", target, carried).map_err(|error| error.exit_code());
                assert_eq!(judged, expected, "{what}, carried: {carried}");
            }
        }
    }
}
