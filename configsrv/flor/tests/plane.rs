//! The daemon with its data plane: what a sync does to connections, and by which way the next version comes.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod pier;
#[path = "../../server/tests/support/mod.rs"]
mod support;

use std::{fs, net::SocketAddr, time::Duration};

use pier::{Hub, Pier, SUBJECTS, broken, connect, echo, exits, id, ping, port, serve};
use serde_json::{Value, json};
use support::tree::file;
use time::OffsetDateTime;
use tokio::net::TcpListener;

#[tokio::test(flavor = "multi_thread")]
async fn a_permission_is_swapped_and_a_structure_restarts() {
    let hub = Hub::start().await;
    let mut pier = Pier::new(&hub).await;
    hub.publish(&pier.tree(1, &["user/mira", "user/tomas"], &json!({}))).await;
    let daemon = pier.daemon().await;
    assert!(pier.sync(0).await.contains("structural"));
    let (mut mira, mut tomas) = (connect(pier.mira).await.unwrap(), connect(pier.tomas).await.unwrap());
    ping(&mut mira).await;
    ping(&mut tomas).await;
    let status = pier.until("its connections", |status| status["plane"]["connections"] == 4).await;
    assert_eq!(status["plane"]["counters"]["opened"], 4, "both ends are here");
    assert_eq!(status["plane"]["inbound"].as_array().unwrap().len(), 3);
    let said = exits(&pier.flor(&["status"]).await, 0);
    assert!(said.contains("peer      user/mira -> service/stock on pier2\n"), "{said}");

    // Who is not named any more is cut off, and nobody else notices; the way back is a swap, too.
    hub.publish(&pier.tree(2, &["user/mira"], &json!({}))).await;
    let said = exits(&pier.flor(&["sync", "--commit-timeout", "5m"]).await, 0);
    assert!(said.contains("acl-only"), "{said}");
    broken(&mut tomas).await;
    assert_eq!(connect(pier.tomas).await.unwrap_err(), 2);
    ping(&mut mira).await;
    exits(&pier.flor(&["sync", "--cancel"]).await, 0);
    ping(&mut mira).await;
    let mut tomas = connect(pier.tomas).await.unwrap();
    exits(&pier.flor(&["sync", "--commit-timeout", "0", "--retry-rejected"]).await, 0);
    broken(&mut tomas).await;

    // Files alone leave the plane as it is.
    let path = pier.folder.path().join("shop").display().to_string();
    hub.publish(&pier.tree(3, &["user/mira"], &json!({ "files": [file(&path, "three")] }))).await;
    assert!(pier.sync(0).await.contains("files"));
    ping(&mut mira).await;

    // Renewed identities do as well.
    let before = pier.until("certificates", |status| status["certificates"] != json!([])).await;
    tokio::time::sleep(Duration::from_millis(1100)).await;
    pier.enroll(&[format!("http://{}", hub.address)], &SUBJECTS).await;
    pier.until("renewed", |status| status["certificates"] != before["certificates"]).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    ping(&mut mira).await;
    ping(&mut connect(pier.mira).await.unwrap()).await;

    // Another address of the service means another plane.
    pier.stock = echo().await;
    hub.publish(&pier.tree(4, &["user/mira"], &json!({}))).await;
    assert!(pier.sync(0).await.contains("structural"));
    broken(&mut mira).await;
    ping(&mut connect(pier.mira).await.unwrap()).await;

    let metrics = exits(&pier.flor(&["status", "--metrics"]).await, 0);
    for line in [
        "flor_active_version 4",
        "flor_vertex_up 1",
        r#"flor_agent_sync_total{result="applied"} 5"#,
        r#"flor_agent_sync_total{result="rolled_back"} 1"#,
        r#"flor_agent_workload_restarts_total{workload="plane",cause="sync"} 1"#,
        r#"flor_vertex_acl_denials_total{initiator="spiffe://quay.test/user/tomas",acl="ingress"} "#,
        r#"flor_certificate_expiry_seconds{spiffe_id="spiffe://quay.test/service/stock"} "#,
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
    drop(daemon);
}

/// Nobody believes a certificate that has ended: once the first ones have, connections show that the second ones count.
#[tokio::test(flavor = "multi_thread")]
async fn renewed_identities_are_shown_from_then_on() {
    let hub = Hub::start().await;
    let pier = Pier::new(&hub).await;
    let urls = [format!("http://{}", hub.address)];
    pier.enroll_for(&urls, &SUBJECTS, OffsetDateTime::now_utc() + Duration::from_secs(30), 0).await;
    hub.publish(&pier.tree(1, &["user/mira"], &json!({}))).await;
    let _daemon = pier.daemon().await;
    pier.sync(0).await;
    let mut mira = connect(pier.mira).await.unwrap();
    ping(&mut mira).await;
    pier.enroll(&urls, &SUBJECTS).await;
    ping(&mut mira).await;
    // It stays until the certificates that it was opened with end.
    broken(&mut mira).await;
    ping(&mut connect(pier.mira).await.unwrap()).await;
}

/// Whoever changes what is active without the daemon is followed by its data plane all the same.
#[tokio::test(flavor = "multi_thread")]
async fn the_plane_follows_what_is_active_whoever_made_it_so() {
    let hub = Hub::start().await;
    let pier = Pier::new(&hub).await;
    hub.publish(&pier.tree(1, &["user/mira", "user/tomas"], &json!({}))).await;
    let _daemon = pier.daemon().await;
    pier.sync(0).await;
    let mut tomas = connect(pier.tomas).await.unwrap();
    ping(&mut tomas).await;
    // For a while nothing shows that there is a daemon.
    let cluster = pier.folder.path().join("home/clusters/quay.test");
    let places = [cluster.join("run/agent.sock"), cluster.join("state/agent/daemon.lock")];
    places.iter().for_each(|place| fs::rename(place, place.with_extension("hidden")).unwrap());
    hub.publish(&pier.tree(2, &["user/mira"], &json!({}))).await;
    assert!(pier.sync(0).await.contains("acl-only"));
    places.iter().for_each(|place| fs::rename(place.with_extension("hidden"), place).unwrap());
    // Whoever asks it wakes it.
    pier.until("version 2", |status| status["daemon"] == true && status["active"] == 2).await;
    broken(&mut tomas).await;
    assert_eq!(connect(pier.tomas).await.unwrap_err(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plane_that_does_not_start_rolls_back() {
    let hub = Hub::start().await;
    let pier = Pier::new(&hub).await;
    hub.publish(&pier.tree(1, &["user/mira"], &json!({}))).await;
    let _daemon = pier.daemon().await;
    pier.sync(0).await;
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let socks5 = taken.local_addr().unwrap().to_string();
    let node = json!({ "local_node": { "spiffe_id": id("node/pier2"), "socks5_proxy": socks5 } });
    hub.publish(&pier.tree(2, &["user/mira"], &node)).await;
    let said = pier.sync(9).await;
    assert!(said.contains(&socks5) && said.contains("SOCKS5 for node/pier2"), "{said}");
    ping(&mut connect(pier.mira).await.unwrap()).await;
    let status = pier.until("the plane", |status| status["plane"]["running"] == true).await;
    assert_eq!((&status["active"], &status["plane"]["fault"]), (&json!(1), &Value::Null));
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_inside_the_window_the_plane_comes_back_on_the_right_tables() {
    let hub = Hub::start().await;
    let pier = Pier::new(&hub).await;
    hub.publish(&pier.tree(1, &["user/mira"], &json!({}))).await;
    let mut daemon = pier.daemon().await;
    pier.sync(0).await;
    hub.publish(&pier.tree(2, &["user/tomas"], &json!({}))).await;
    // Time left: what is pending runs on, and goes back at its end.
    exits(&pier.flor(&["sync", "--commit-timeout", "15s"]).await, 0);
    ping(&mut connect(pier.tomas).await.unwrap()).await;
    daemon.kill().await.unwrap();
    let mut daemon = pier.daemon().await;
    let mut tomas = connect(pier.tomas).await.unwrap();
    ping(&mut tomas).await;
    broken(&mut tomas).await;
    pier.until("the way back", |status| status["pending"].is_null()).await;
    ping(&mut connect(pier.mira).await.unwrap()).await;
    // Time over while nothing ran: the old tables are the first.
    exits(&pier.flor(&["sync", "--commit-timeout", "1s", "--retry-rejected"]).await, 0);
    daemon.kill().await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let _daemon = pier.daemon().await;
    ping(&mut connect(pier.mira).await.unwrap()).await;
    assert_eq!(connect(pier.tomas).await.unwrap_err(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_version_comes_from_where_this_one_says() {
    let hub = Hub::start().await;
    let pier = Pier::new(&hub).await;
    let sync = |via: &str, urls: &[String]| {
        let (principal, config_server) = (id("node/pier2"), id("service/config-server"));
        json!({ "via": via, "principal": principal, "config_server": config_server, "urls": urls })
    };
    // A server that moves says where to before it goes.
    let next = SocketAddr::from(([127, 0, 0, 1], port()));
    let next_url = format!("http://{next}");
    hub.publish(&pier.tree(1, &[], &json!({ "sync": sync("direct", std::slice::from_ref(&next_url)) }))).await;
    let _daemon = pier.daemon().await;
    pier.sync(0).await;
    hub.serving.abort();
    let listener = TcpListener::bind(next).await.unwrap();
    let moved = Hub { address: next, app: hub.app.clone(), serving: tokio::spawn(serve(listener, hub.app)) };

    // Through the tunnel: the address is known to the tables alone.
    let through = |hub: &Hub, version, more: &[(&str, Value)]| {
        let stock =
            json!({ "name": "stock", "spiffe_id": id("service/stock"), "upstream_addr": pier.stock.to_string() });
        let server = json!({
            "name": "config-server", "spiffe_id": id("service/config-server"), "upstream_addr": hub.address.to_string(),
        });
        let allow = json!([id("node/pier2")]);
        let mut patch = json!({
            "sync": sync("rete", &[]), "local_services": [server, stock],
            "ingress": [{ "target_spiffe_id": id("service/config-server"), "allow": allow }],
        });
        for (field, value) in more {
            patch[field] = value.clone();
        }
        pier.tree(version, &[], &patch)
    };
    moved.publish(&through(&moved, 2, &[])).await;
    exits(&pier.flor(&["sync", "--commit-timeout", "5m"]).await, 0);
    exits(&pier.flor(&["sync", "--confirm"]).await, 0);
    let status = pier.until("the tunnel", |status| status["plane"]["counters"]["opened"].as_u64() >= Some(2)).await;
    assert_eq!(status["confirmed"], 2);

    // A version that cuts its own way off cannot be confirmed, though the server itself can be reached.
    moved.publish(&through(&moved, 3, &[("ingress", json!([]))])).await;
    exits(&pier.flor(&["sync", "--commit-timeout", "5m"]).await, 0);
    let said = exits(&pier.flor(&["sync", "--confirm"]).await, 7);
    assert!(said.contains("config-server.quay.test.rete"), "{said}");
    exits(&pier.flor(&["sync", "--cancel"]).await, 0);
    assert_eq!(pier.until("the way back", |status| status["pending"].is_null()).await["active"], 2);
    moved.serving.abort();
}

/// What a version names that confirms itself: mira gets through to the service, for a second.
fn watched() -> Value {
    let check = json!({ "tunnel": { "as": id("user/mira"), "target": id("service/stock") } });
    let (principal, config_server) = (id("node/pier2"), id("service/config-server"));
    json!({
        "schema_version": "1.1",
        "probes": [{ "name": "stock", "check": check }],
        "sync": { "via": "direct", "principal": principal, "config_server": config_server, "urls": [], "hold": "1s" },
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn two_versions_and_nobody_at_the_keyboard() {
    let hub = Hub::start().await;
    let pier = Pier::new(&hub).await;
    hub.publish(&pier.tree(1, &["user/mira"], &watched())).await;
    let _daemon = pier.daemon_with(&["--sync", "watch", "--commit-timeout", "30s"]).await;
    pier.until("version 1", |status| status["confirmed"] == 1).await;
    assert_eq!(connect(pier.tomas).await.unwrap_err(), 2);
    hub.publish(&pier.tree(2, &["user/mira", "user/tomas"], &watched())).await;
    let status = pier.until("version 2", |status| status["confirmed"] == 2).await;
    assert_eq!(status["last"]["result"], "confirmed by itself", "{status}");
    assert_eq!(status["policy"], json!({ "sync": "watch", "confirm": "health" }));
    ping(&mut connect(pier.tomas).await.unwrap()).await;
    assert_eq!(hub.told("confirmed").await["reason"], "1 probes held for 1 s");

    // What nothing could confirm is refused before it is staged, and the operators see why.
    hub.publish(&pier.tree(3, &["user/mira"], &json!({}))).await;
    pier.until("the refusal", |status| status["refused"]["version"] == 3).await;
    assert_eq!(hub.told("rejected").await["rejected"], 3);
    hub.publish(&pier.tree(4, &["user/mira"], &watched())).await;
    pier.until("version 4", |status| status["confirmed"] == 4 && status["refused"].is_null()).await;
    hub.serving.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_breaks_the_node_goes_back_by_itself() {
    let hub = Hub::start().await;
    let pier = Pier::new(&hub).await;
    hub.publish(&pier.tree(1, &["user/mira"], &watched())).await;
    let _daemon = pier.daemon_with(&["--sync", "watch", "--commit-timeout", "6s"]).await;
    pier.until("version 1", |status| status["confirmed"] == 1).await;

    // The probe fails, and nothing else happens until the deadline.
    hub.publish(&pier.tree(2, &["user/tomas"], &watched())).await;
    let status = pier.until("the probe", |status| status["not_yet"].to_string().contains("probe stock")).await;
    assert_eq!((&status["active"], &status["pending"]["version"]), (&json!(2), &json!(2)), "{status}");
    let status = pier.until("the way back", |status| status["pending"].is_null()).await;
    assert_eq!((&status["active"], &status["confirmed"]), (&json!(1), &json!(1)), "{status}");
    assert_eq!(status["rejected"][0]["target"]["version"], 2);
    ping(&mut connect(pier.mira).await.unwrap()).await;
    let reported = hub.told("rolled_back").await;
    assert_eq!((&reported["rolled_back"], &reported["active"]), (&json!(2), &json!(1)), "{reported}");
    let reason = reported["reason"].as_str().unwrap();
    assert!(reason.starts_with("not confirmed in time: probe stock: ") && reason.contains("not allowed"), "{reason}");

    // What syncs through the data plane is confirmed through it, and a version that cuts the node off from the servers goes
    // back although there is another way to them.
    let through = |version, ingress: &Value| {
        let (server, own) = (id("service/config-server"), id("node/pier2"));
        let name = |name: &str, addr: &str| json!({ "name": name, "spiffe_id": id(&format!("service/{name}")), "upstream_addr": addr });
        pier.tree(version, &[], &json!({
            "schema_version": "1.1",
            "local_services": [name("config-server", &hub.address.to_string()), name("stock", &pier.stock.to_string())],
            "ingress": ingress,
            "sync": { "via": "rete", "principal": own, "config_server": server, "urls": [], "hold": "1s" },
        }))
    };
    let row = json!([{ "target_spiffe_id": id("service/config-server"), "allow": [id("node/pier2")] }]);
    hub.publish(&through(3, &row)).await;
    pier.until("version 3", |status| status["confirmed"] == 3).await;
    hub.publish(&through(4, &json!([]))).await;
    pier.until("version 4", |status| status["pending"]["version"] == 4).await;
    let status = pier.until("the way back", |status| status["pending"].is_null()).await;
    assert_eq!((&status["active"], &status["confirmed"]), (&json!(3), &json!(3)), "{status}");
    hub.publish(&through(5, &row)).await;
    pier.until("version 5", |status| status["confirmed"] == 5).await;
    assert_eq!(hub.told("adopted").await["confirmed"], 5, "it is the content of version 3");
    hub.serving.abort();
}
