//! Whose signature counts: a list of signers changes with a confirmed version and not before, and what was taken over
//! under the list before goes on.

use configsrv_fleet::to_canonical;
use serde_json::{Value, json};

use super::{Fleet, Signer, Tree, guarded, tree};
use crate::{
    Error,
    agent::{Agent, Demand},
    disk::forgetful::ForgetfulDisk,
    outcome::SyncRequest,
};

const STAGED: &str = "/flor/artifacts/sets/v2/pier2.json";

/// Publishes a text, signed by one and naming others.
fn publish(fleet: &Fleet, version: u64, signer: &Signer, announces: &[&Signer], text: &str) {
    let mut tree = Tree::new(version, signer).nodes(vec![("pier2", json!([tree::file("/etc/shop", text)]))]);
    tree.announces = announces.to_vec();
    fleet.publish_tree(&tree);
}

async fn takes(agent: &Agent) -> bool {
    match agent.sync(&SyncRequest { dry_run: true, ..guarded() }).await {
        Ok(_) => true,
        Err(Error::Untrusted(why)) => {
            assert!(why.contains("not a trusted signer"), "{why}");
            false
        }
        Err(error) => panic!("{error}"),
    }
}

/// A node that has confirmed version 2: signed by the old key, which it names no more.
async fn rotated(fleet: &Fleet, old: &Signer, new: &Signer) -> ForgetfulDisk {
    let disk = ForgetfulDisk::default();
    let agent = fleet.agent(&disk);
    publish(fleet, 1, old, &[old], "one");
    agent.sync(&SyncRequest::default()).await.unwrap();
    publish(fleet, 2, old, &[new], "two");
    agent.sync(&guarded()).await.unwrap();
    agent.confirm(None, Demand::All).await.unwrap();
    disk
}

#[tokio::test]
async fn a_list_of_signers_counts_from_its_confirmation_on() {
    let (fleet, disk) = (Fleet::new(), ForgetfulDisk::default());
    let (old, new) = (Signer::new("old"), Signer::new("new"));
    let agent = fleet.agent(&disk);
    publish(&fleet, 1, &old, &[&old], "one");
    agent.sync(&SyncRequest::default()).await.unwrap();
    publish(&fleet, 2, &new, &[&new], "two");
    assert!(!takes(&agent).await, "nobody introduces themselves");

    publish(&fleet, 2, &old, &[&new], "two");
    agent.sync(&guarded()).await.unwrap();
    publish(&fleet, 3, &new, &[&new], "three");
    assert!(!takes(&agent).await, "it is not confirmed yet");
    let supersede = SyncRequest { supersede: true, ..guarded() };
    assert!(matches!(agent.sync(&supersede).await, Err(Error::Untrusted(_))));
    publish(&fleet, 3, &old, &[&old], "three");
    assert!(takes(&agent).await, "and nobody is retired yet");

    agent.cancel().await.unwrap();
    publish(&fleet, 3, &new, &[&new], "three");
    assert!(!takes(&agent).await, "the node went back from the list, too");
    publish(&fleet, 3, &old, &[&new], "three");
    agent.sync(&guarded()).await.unwrap();
    agent.confirm(None, Demand::All).await.unwrap();
    publish(&fleet, 4, &old, &[&old], "four");
    assert!(!takes(&agent).await, "who is retired comes back by nobody's leave");
    assert!(!takes(&fleet.agent(&disk)).await, "also after a start");
    publish(&fleet, 4, &new, &[&new], "four");
    assert!(takes(&agent).await);
}

#[tokio::test]
async fn what_a_retired_key_signed_goes_on_and_is_mended() {
    let (fleet, old, new) = (Fleet::new(), Signer::new("old"), Signer::new("new"));
    let disk = rotated(&fleet, &old, &new).await;
    let agent = fleet.agent(&disk);
    agent.connect().await.unwrap();
    let whole = disk.text(STAGED).unwrap();
    disk.plant(STAGED, b"{");
    agent.sync(&guarded()).await.unwrap();
    assert_eq!(disk.text(STAGED).as_ref(), Some(&whole));
    // The way back from what follows leads there, too.
    publish(&fleet, 3, &new, &[&new], "three");
    agent.sync(&guarded()).await.unwrap();
    agent.cancel().await.unwrap();
    assert_eq!(disk.text("/etc/shop").as_deref(), Some("two"));
    fleet.agent(&disk).connect().await.unwrap();
}

/// The content has a digest of its own; what stands beside it, such as until when it is fresh, is under the signature
/// alone.
#[tokio::test]
async fn a_staged_set_is_used_under_the_signature_that_it_came_with() {
    let (fleet, old, new) = (Fleet::new(), Signer::new("old"), Signer::new("new"));
    let disk = rotated(&fleet, &old, &new).await;
    let agent = fleet.agent(&disk);
    let whole = disk.text(STAGED).unwrap();
    let mut value: Value = serde_json::from_str(&whole).unwrap();
    value["expires_at"] = json!("2999-01-01T00:00:00Z");
    let resigned = new.seal(value.clone());
    for changed in [to_canonical(&value).unwrap(), resigned] {
        disk.plant(STAGED, &changed);
        let error = agent.connect().await.unwrap_err();
        assert!(error.to_string().contains("not what was verified"), "{error}");
        assert_eq!(agent.status().freshness, None, "nobody's word is shown for it");
        agent.sync(&guarded()).await.unwrap();
        assert_eq!(disk.text(STAGED).as_ref(), Some(&whole));
    }
}
