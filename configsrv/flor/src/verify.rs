use configsrv_fleet::{Envelope, Gate, Sealed, Signer, Subject};

use crate::{Error, cluster::Cluster};

/// An artifact that may become active, as far as its own words go.
#[derive(Clone, Debug)]
pub(crate) struct Verified {
    pub sealed: Sealed,
    pub envelope: Envelope,
    /// Whose signature it carries.
    pub signer: Signer,
    /// The node trusted nobody before, and will trust the signers that this artifact names.
    pub first_contact: bool,
}

/// Schema, addressee, signature by a key that is trusted already, trust domain. Nothing is staged before this.
///
/// A node that was enrolled without signers pins those of its first artifact, which comes over a connection to a
/// server that the enrolment vouched for. Nobody vouches for a file that was `carried` here.
pub(crate) fn verify(bytes: &[u8], cluster: &Cluster, trusted: &[Signer], carried: bool) -> Result<Verified, Error> {
    let sealed = Sealed::parse(bytes)?;
    let first_contact = trusted.is_empty();
    if first_contact && carried {
        return Err(Error::Untrusted(
            "this node does not know yet whose signature counts, and a file cannot say so: sync it once from the servers, or \
             enrol it with a bundle of florctl issue-bundle"
                .into(),
        ));
    }
    let announced;
    let signers = if first_contact {
        announced = sealed.announced_signers()?;
        check_announced(cluster, &announced)?;
        announced.as_slice()
    } else {
        trusted
    };
    let gate = Gate { cluster: &cluster.cluster, node: &cluster.node, signers };
    let envelope = sealed.admit(&gate)?;
    let signer = signers.iter().find(|signer| Some(&signer.spiffe_id) == sealed.key_id()).cloned();
    let signer = signer.ok_or_else(|| Error::Untrusted("the artifact is not signed".into()))?;
    check_announced(cluster, &envelope.payload.trust.authorized_mgmt_signers)?;
    let own = cluster.spiffe_id();
    if envelope.payload.local_node.spiffe_id != own {
        return Err(Error::Untrusted(format!(
            "the artifact is for {}, this node's identity is {own}: enrol it again",
            envelope.payload.local_node.spiffe_id
        )));
    }
    Ok(Verified { sealed, envelope, signer, first_contact })
}

fn check_announced(cluster: &Cluster, signers: &[Signer]) -> Result<(), Error> {
    if signers.is_empty() {
        return Err(Error::Untrusted("the artifact names no signers: nothing could follow it".into()));
    }
    let foreign = signers.iter().find(|signer| {
        signer.spiffe_id.cluster() != &cluster.cluster || !matches!(signer.spiffe_id.subject(), Subject::Signer(_))
    });
    match foreign {
        None => Ok(()),
        Some(signer) => Err(Error::Untrusted(format!("{} cannot sign for this cluster", signer.spiffe_id))),
    }
}
