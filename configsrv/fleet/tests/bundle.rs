//! Bundles: what is written is read, and what does not fit together is not believed.
#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

mod quay;

use configsrv_fleet::{
    SpiffeId, Subject,
    bundle::{Bundle, BundleError, Identity, Request, Requests, Secret, Servers, belongs, principals},
    ca::Authority,
};
use quay::{NOW, Quay, repo};
use serde_json::{Value, json};
use time::Duration;

fn root() -> (Authority, String) {
    let (authority, root) = Authority::create(&"quay.test".parse().unwrap(), NOW, 3650).unwrap();
    (authority, root.certificate_pem)
}

fn identity(authority: &Authority, subject: &str) -> Identity {
    let subject: Subject = subject.parse().unwrap();
    let issued = authority.issue(&subject, NOW, 90).unwrap();
    let spiffe_id = SpiffeId::new(authority.cluster(), subject);
    Identity { spiffe_id, certificate: issued.certificate_pem, key: Some(Secret::new(issued.key_pem)) }
}

fn bundle(authority: &Authority, root: String) -> Bundle {
    let servers = Servers { urls: vec!["https://hub:8080".into()], ..Servers::default() };
    let (cluster, node) = (authority.cluster().clone(), "pier2".parse().unwrap());
    let mut bundle = Bundle::new(cluster, node, root, Vec::new(), servers);
    for subject in ["node/pier2", "service/stock", "service/pier2/shell"] {
        bundle.identities.push(identity(authority, subject));
    }
    bundle
}

/// What somebody does to a bundle.
type Edit<'a> = &'a dyn Fn(&mut Bundle);

fn read(bundle: &Bundle) -> Result<Bundle, BundleError> {
    Bundle::read(bundle.write().unwrap().expose().as_bytes(), NOW)
}

#[test]
fn what_is_written_is_read_and_keys_do_not_show() {
    let (authority, root) = root();
    let mut bundle = bundle(&authority, root);
    bundle.join_token = Some(Secret::new("hfjoin.pier2.x.y".to_owned().into()));
    assert_eq!(read(&bundle).unwrap(), bundle);
    let shown = format!("{bundle:?}");
    assert!(!shown.contains("PRIVATE KEY") && !shown.contains("hfjoin"), "{shown}");
    let identity = &bundle.identities[0];
    let (key, certificate) = (identity.key.as_ref().unwrap(), identity.certificate().unwrap());
    assert!(belongs(key.expose(), &certificate));
    // Without keys, as an answer to requests.
    bundle.identities.iter_mut().for_each(|identity| identity.key = None);
    assert!(read(&bundle).is_ok() && !bundle.write().unwrap().expose().contains("PRIVATE KEY"));
}

#[test]
fn what_does_not_fit_together_is_not_believed() {
    let ((authority, root), (other, other_root)) = (root(), root());
    let good = bundle(&authority, root.clone());
    let edited = |edit: &dyn Fn(&mut Bundle)| {
        let mut bundle = good.clone();
        edit(&mut bundle);
        read(&bundle)
    };
    let untrusted: [(&str, Edit<'_>); 11] = [
        ("another root", &|bundle| bundle.authority.clone_from(&other_root)),
        ("a leaf as root", &|bundle| bundle.authority = bundle.identities[0].certificate.clone()),
        ("no root", &|bundle| bundle.authority.clear()),
        ("another cluster", &|bundle| bundle.cluster = "dock.test".parse().unwrap()),
        ("another authority's leaf", &|bundle| bundle.identities[1] = identity(&other, "service/stock")),
        ("another's certificate", &|bundle| {
            bundle.identities[1].certificate = bundle.identities[0].certificate.clone();
        }),
        ("another's key", &|bundle| bundle.identities[1].key = bundle.identities[0].key.clone()),
        ("somebody twice", &|bundle| bundle.identities.push(bundle.identities[0].clone())),
        ("another node", &|bundle| bundle.identities.push(identity(&authority, "node/pier3"))),
        ("another node's service", &|bundle| bundle.identities.push(identity(&authority, "service/pier3/shell"))),
        ("a signer", &|bundle| bundle.identities.push(identity(&authority, "management-plane/primary"))),
    ];
    for (what, edit) in untrusted {
        assert!(matches!(edited(edit), Err(BundleError::Untrusted(_))), "{what}");
    }
    let bytes = good.write().unwrap();
    for late in [NOW + Duration::days(90), NOW - Duration::days(1)] {
        assert!(matches!(Bundle::read(bytes.expose().as_bytes(), late), Err(BundleError::Untrusted(_))));
    }
}

#[test]
fn only_this_form_is_read() {
    let (authority, root) = root();
    let good: Value = serde_json::from_str(bundle(&authority, root).write().unwrap().expose()).unwrap();
    let read = |value: &Value| Bundle::read(value.to_string().as_bytes(), NOW);
    assert!(read(&good).is_ok());
    let mut newer = good.clone();
    newer["schema_version"] = json!("1.1");
    newer["new"] = json!(1);
    assert_eq!(read(&newer), Err(BundleError::Schema("1.1".parse().unwrap())));
    let mut unknown = good.clone();
    unknown["extra"] = json!("-----BEGIN PRIVATE KEY-----");
    let error = read(&unknown).unwrap_err().to_string();
    assert!(error.contains("unknown") && !error.contains("PRIVATE"), "{error}");
    for bytes in [&b""[..], b"{", b"[]", b"<html>", &[0xff; 100]] {
        assert!(matches!(Bundle::read(bytes, NOW), Err(BundleError::Malformed(_))));
        assert!(matches!(Requests::read(bytes), Err(BundleError::Malformed(_))));
    }
    assert!(matches!(Bundle::read(&vec![b' '; 5 << 20], NOW), Err(BundleError::Malformed(_))));
}

/// Release 1 wrote this; every later release must read it.
#[test]
fn the_format_is_frozen() {
    let (authority, root) = root();
    let mut bundle = bundle(&authority, root);
    bundle.servers.api = vec!["https://hub:2379".into()];
    bundle.servers.ca = Some("PEM".into());
    bundle.join_token = Some(Secret::new("t".to_owned().into()));
    let identity = &bundle.identities[0];
    let frozen = json!({
        "schema_version": "1.0", "cluster": "quay.test", "node": "pier2", "authority": bundle.authority, "signers": [],
        "servers": { "urls": ["https://hub:8080"], "api": ["https://hub:2379"], "ca": "PEM" },
        "identities": [{
            "spiffe_id": "spiffe://quay.test/node/pier2", "certificate": identity.certificate,
            "key": identity.key.as_ref().unwrap().expose(),
        }],
        "join_token": "t",
    });
    bundle.identities.truncate(1);
    assert_eq!(Bundle::read(frozen.to_string().as_bytes(), NOW).unwrap(), bundle);
    assert_eq!(serde_json::from_str::<Value>(bundle.write().unwrap().expose()).unwrap(), frozen);
    let requests = json!({
        "schema_version": "1.0", "node": "pier2", "requests": [{ "subject": "service/stock", "csr": "PEM" }],
    });
    let request = Request { subject: "service/stock".into(), csr: "PEM".into() };
    let written = Requests::new("pier2".parse().unwrap(), vec![request]);
    assert_eq!(Requests::read(requests.to_string().as_bytes()).unwrap(), written);
    assert_eq!(serde_json::to_value(&written).unwrap(), requests);
    assert_eq!(written.requests[0].subject().unwrap(), "service/stock".parse().unwrap());
}

#[test]
fn a_node_s_principals_are_those_of_the_repository() {
    let repo = repo(&Quay::new().files);
    let of = |node: &str| {
        let mut names: Vec<_> = principals(&repo, &node.parse().unwrap()).iter().map(ToString::to_string).collect();
        names.sort();
        names
    };
    assert_eq!(of("pier2"), ["node/pier2", "service/pier2/shell", "service/stock"]);
    assert_eq!(of("mira-pad"), ["node/mira-pad", "user/mira"]);
    assert_eq!(of("hub"), ["node/hub", "service/config-publisher", "service/config-server"]);
    assert!(of("elsewhere").is_empty());
}
