//! What has to speak for a version before it is kept, and which versions may not go without that.

use axum::{Router, routing::get};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::{Fleet, Tree, guarded, tree};
use crate::{
    Error,
    agent::Demand,
    outcome::{Outcome, SyncRequest},
};

/// A page that is there, and one that is not.
async fn page() -> (String, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let urls = (url.clone(), format!("{url}gone"));
    tokio::spawn(async move { axum::serve(listener, Router::new().route("/", get(|| async {}))).await });
    urls
}

fn probes(urls: &[(&str, &str)]) -> Value {
    let probes: Vec<Value> = urls.iter().map(|(name, url)| json!({ "name": name, "check": { "url": url } })).collect();
    json!({ "schema_version": "1.1", "probes": probes })
}

#[tokio::test]
async fn a_person_confirms_what_its_probes_confirm_or_says_otherwise() {
    // As the program does at its start.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (there, gone) = page().await;
    let fleet = Fleet::new();
    let disk = fleet.settled().await;
    let agent = fleet.agent(&disk);
    fleet.publish_tree(&Tree::new(2, &fleet.signer).patched(probes(&[("shop", &there)])));
    agent.sync(&guarded()).await.unwrap();
    assert!(matches!(agent.confirm(None, Demand::All).await, Ok(Outcome::Confirmed { already: false, .. })));

    fleet.publish_tree(&Tree::new(3, &fleet.signer).patched(probes(&[("shop", &there), ("till", &gone)])));
    agent.sync(&guarded()).await.unwrap();
    let refused = agent.confirm(None, Demand::All).await.unwrap_err();
    assert_eq!(refused.exit_code(), 7, "{refused}");
    assert!(
        refused.to_string().contains("probe till: ") && refused.to_string().contains("--without-probes"),
        "{refused}"
    );
    assert_eq!(agent.status().pending.unwrap().version.get(), 3, "nothing is decided by it");
    let refused = agent.confirm(None, Demand::Word).await.unwrap_err();
    assert!(matches!(&refused, Error::State(text) if text.contains("came from the servers")), "{refused}");
    agent.confirm(None, Demand::WithoutProbes).await.unwrap();
    assert_eq!(agent.status().last.unwrap().result, "confirmed without its probes");
    let told = fleet.server.reports.lock().unwrap().last().unwrap().clone();
    assert_eq!(told.result, Some("confirmed"));
    assert_eq!(told.reason.as_deref(), Some("confirmed by a person; its probes were not asked"));
}

/// The node that nodes get their versions from.
fn hub(version: u64, fleet: &Fleet, text: &str) -> Vec<u8> {
    let service = json!({
        "name": "config-server", "spiffe_id": "spiffe://quay.test/service/config-server", "upstream_addr": "127.0.0.1:9000",
    });
    let files = json!([tree::file("/etc/shop", text)]);
    let tree = Tree::new(version, &fleet.signer).patched(json!({ "local_services": [service], "files": files }));
    fleet.publish_tree(&tree);
    tree.artifacts()[0].bytes().to_vec()
}

#[tokio::test]
async fn the_node_that_distributes_versions_is_always_guarded() {
    let fleet = Fleet::new();
    let disk = fleet.settled().await;
    let agent = fleet.agent(&disk);
    let (at_once, carried) = (SyncRequest::default(), SyncRequest { carried: true, ..SyncRequest::default() });
    // To become it, by whatever way the version comes.
    let bytes = hub(2, &fleet, "two");
    for refused in [agent.sync(&at_once).await, agent.take(&bytes, &carried).await] {
        let refused = refused.unwrap_err();
        assert!(matches!(&refused, Error::Usage(text) if text.contains("always guarded")), "{refused}");
    }
    let status = agent.status();
    assert_eq!((status.active.unwrap().get(), status.refused), (1, None), "nothing is wrong with the version");
    assert_eq!(disk.text("/etc/shop").as_deref(), Some("one"));
    agent.sync(&guarded()).await.unwrap();
    agent.confirm(None, Demand::All).await.unwrap();
    // Another number for it has nothing to be guarded, unlike another content and the end of it.
    hub(3, &fleet, "two");
    assert!(matches!(agent.sync(&at_once).await, Ok(Outcome::Committed { .. })));
    hub(4, &fleet, "four");
    assert!(matches!(agent.sync(&at_once).await, Err(Error::Usage(_))));
    fleet.publish(5, &[("/etc/shop", "five", None)]);
    assert!(matches!(agent.sync(&at_once).await, Err(Error::Usage(_))));
    agent.sync(&guarded()).await.unwrap();
    agent.confirm(None, Demand::All).await.unwrap();
    fleet.publish(6, &[("/etc/shop", "six", None)]);
    assert!(matches!(agent.sync(&at_once).await, Ok(Outcome::Committed { .. })), "it is a node as any other now");
}
