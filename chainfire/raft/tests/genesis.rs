//! §0 "Contract": who may begin a cluster, and who may take part.

// A failed unwrap is a failed test.
#![allow(clippy::unwrap_used)]

mod support;

use std::{fs, time::Duration};

use chainfire_raft::{Error, Node, PeerTls, peer_ca};
use support::Plan;

#[test]
fn different_configurations_do_not_become_a_cluster() {
    let mut plan = Plan::new(3);
    let mut other = plan.config(2);
    other.cluster.members[0].address = "127.0.0.1:1".into();
    let starting = [plan.begin(0, plan.config(0)), plan.begin(1, plan.config(1)), plan.begin(2, other)];
    // Nobody can tell whose configuration is the wrong one, so that everybody waits for a better one.
    let outcomes: Vec<_> =
        starting.iter().map(|started| started.recv_timeout(Duration::from_secs(2)).map(Result::err)).collect();
    assert!(outcomes.iter().all(Result::is_err), "{outcomes:?}");
}

#[test]
fn a_configuration_may_be_corrected_until_the_cluster_is_formed() {
    let mut plan = Plan::new(3);
    let mut typo = plan.config(2);
    typo.cluster.token = "tset".into();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let unused = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        drop(Node::open(typo, unused).unwrap());
    });
    drop(runtime);
    let servers = plan.start_all();
    servers[2].propose("a=1").unwrap();
}

#[test]
fn a_new_cluster_waits_for_every_member() {
    let mut plan = Plan::new(3);
    let (first, second) = (plan.begin(0, plan.config(0)), plan.begin(1, plan.config(1)));
    assert!(first.recv_timeout(Duration::from_secs(3)).is_err(), "two of three must not begin");
    let third = plan.start(2).unwrap();
    let (first, second) = (first.recv().unwrap().unwrap(), second.recv().unwrap().unwrap());
    let id = first.node().cluster_id();
    assert!(id.is_some());
    assert_eq!([second.node().cluster_id(), third.node().cluster_id()], [id, id]);
    for server in [&first, &second, &third] {
        assert_eq!(server.pairs(), [("genesis".to_owned(), "cp0,cp1,cp2".to_owned())]);
    }
}

#[test]
fn a_server_that_lost_its_disk_is_refused() {
    let mut plan = Plan::new(3);
    let mut servers = plan.start_all();
    servers[0].propose("a=1").unwrap();
    for wiped in [2, 0] {
        servers.remove(wiped).kill();
        fs::remove_dir_all(plan.data_dir(wiped)).unwrap();
        let error = plan.start(wiped).err().unwrap();
        let text = error.to_string();
        assert!(matches!(error, Error::Refused(_)), "{text}");
        assert!(text.contains("restore the lost disk") && text.contains("--rejoin-wiped"), "{text}");
        assert!(text.contains("restore-and-rejoin.md"), "{text}");
        // One at a time: a cluster has a quorum again before the next disk is lost.
        if wiped == 2 {
            servers[0].propose("b=2").unwrap();
        }
    }
}

#[test]
fn another_membership_on_disk_is_refused() {
    let mut plan = Plan::new(1);
    plan.start(0).unwrap().stop();
    plan.cluster.token = "another".into();
    let error = plan.start(0).err().unwrap();
    assert!(matches!(&error, Error::Membership(text) if text.contains("token")), "{error}");
}

#[test]
fn a_certificate_of_another_slot_is_refused() {
    let mut plan = Plan::new(3);
    let mut false_second = plan.config(1);
    false_second.tls = Some(plan.tls("cp2"));
    let error = plan.begin(1, false_second).recv().unwrap().err().unwrap();
    assert!(matches!(&error, Error::Tls(text) if text.contains("the certificate is cp2's")), "{error}");
}

#[test]
fn a_certificate_of_another_ca_is_refused() {
    let mut plan = Plan::new(3);
    let foreign = plan.folder.path().join("foreign");
    peer_ca::init(&foreign).unwrap();
    peer_ca::issue(&foreign, "cp1", &[], &foreign).unwrap();
    let mut config = plan.config(1);
    let own = plan.tls("cp1");
    config.tls = Some(PeerTls { certificate: foreign.join("peer.crt"), key: foreign.join("peer.key"), ..own });
    let error = plan.begin(1, config).recv().unwrap().err().unwrap();
    let text = error.to_string();
    assert!(matches!(error, Error::Tls(_)), "{text}");
    assert!(text.contains("foreign/peer.crt: not accepted by"), "{text}");
}
