//! What a wrong access key costs the server says nothing about which access keys there are.
#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

mod support;

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use chainfire_client::{Applied, Lineage, Page, Record, StoreError, SystemStore, memory::MemoryStore};
use chainfire_core::{
    Origin,
    system::{LockGroup, SystemAnswer, SystemCommand},
};
use holdfast_proto::iam::{
    CreateCredentialRequest, CreatePrincipalRequest, RevokeCredentialRequest, SetPrincipalRequest,
    admin_client::AdminClient, credentials_client::CredentialsClient,
};
use iam_client::{Authority as _, Presented, Refusal};
use prometheus_client::{encoding::text::encode, registry::Registry};
use support::{ADMIN_TOKEN, Environment, TestClock, with};
use tokio::sync::watch;

/// A store that writes down what is read, by kind.
struct Watched {
    store: MemoryStore,
    reads: Mutex<Vec<String>>,
}

impl Watched {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.reads.lock().unwrap())
    }
}

#[async_trait]
impl SystemStore for Watched {
    async fn submit(&self, origin: Origin, command: SystemCommand) -> Result<SystemAnswer, StoreError> {
        self.store.submit(origin, command).await
    }

    async fn barrier(&self) -> Result<Applied, StoreError> {
        self.store.barrier().await
    }

    fn get(&self, key: &[u8]) -> Result<Option<Record>, StoreError> {
        let kind = String::from_utf8_lossy(key).split('/').take(2).collect::<Vec<_>>().join("/");
        self.reads.lock().unwrap().push(kind);
        self.store.get(key)
    }

    fn list(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Page, StoreError> {
        self.store.list(prefix, after, limit)
    }

    fn lock_group(&self, group: &str) -> Result<Option<LockGroup>, StoreError> {
        self.store.lock_group(group)
    }

    fn lock_groups(&self, after: Option<&str>, limit: usize) -> Result<Vec<LockGroup>, StoreError> {
        self.store.lock_groups(after, limit)
    }

    fn lineage(&self) -> Result<Option<Lineage>, StoreError> {
        self.store.lineage()
    }

    fn applied(&self) -> Applied {
        self.store.applied()
    }

    fn progress(&self) -> watch::Receiver<u64> {
        self.store.progress()
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.store.changes()
    }
}

fn compared(registry: &Registry) -> u64 {
    let mut text = String::new();
    encode(&mut text, registry).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("holdfast_iam_secrets_compared_total "));
    line.unwrap().parse().unwrap()
}

/// Spec §8: "constant-time comparison".
#[tokio::test]
async fn every_no_takes_the_same_steps() {
    let store = Arc::new(Watched { store: MemoryStore::new().unwrap(), reads: Mutex::default() });
    let (clock, folder) = (TestClock::new(), tempfile::TempDir::new().unwrap());
    let (iam, running) = support::open(&store, &clock, folder.path(), &Environment::default(), |_| {}).unwrap();
    iam.settled().await;
    let mut registry = Registry::default();
    iam.register_metrics(&mut registry);

    let api = support::api(&iam);
    let (mut admin, mut credentials) = (AdminClient::new(api.clone()), CredentialsClient::new(api));
    for id in ["user/mira", "user/noor"] {
        let create = CreatePrincipalRequest { id: id.into(), ..Default::default() };
        admin.create_principal(with(ADMIN_TOKEN, create)).await.unwrap();
    }
    let mut create = async |principal: &str| {
        let create = CreateCredentialRequest { principal: principal.into(), note: String::new() };
        let new = credentials.create(with(ADMIN_TOKEN, create)).await.unwrap().into_inner();
        (new.credential.unwrap().access_key_id, new.secret)
    };
    let (live, revoked, disabled) = (create("user/mira").await, create("user/mira").await, create("user/noor").await);
    let revoke = RevokeCredentialRequest { access_key_id: revoked.0.clone(), force: false };
    credentials.revoke(with(ADMIN_TOKEN, revoke)).await.unwrap();
    let disable = SetPrincipalRequest { id: "user/noor".into(), disabled: true, ..Default::default() };
    admin.set_principal(with(ADMIN_TOKEN, disable)).await.unwrap();
    // The background has seen all of it, and reads nothing while the answers are counted.
    running.end().await;

    let mut shapes = Vec::new();
    for (what, name, secret) in [
        ("a wrong secret", live.0.as_str(), "wrong"),
        ("an unknown access key", "HFAK0123456789ABCDEF", "wrong"),
        ("no access key at all", "mira", "wrong"),
        ("a revoked one", &revoked.0, &revoked.1),
        ("a disabled principal's", &disabled.0, &disabled.1),
    ] {
        for warm in [false, true] {
            let (before, _) = (compared(&registry), store.take());
            let basic = Some((name.to_owned(), secret.to_owned()));
            let answer = iam.authenticate(Presented { basic, ..Presented::default() }).await;
            assert_eq!(answer.unwrap_err(), Refusal::Unauthenticated, "{what}");
            if warm {
                shapes.push((what, compared(&registry) - before, store.take()));
            }
        }
    }
    let (_, comparisons, reads) = &shapes[0];
    assert_eq!(*comparisons, 1);
    assert!(
        ["iam/access-key", "iam/credentials", "iam/sealed"].iter().all(|kind| reads.iter().any(|read| read == kind))
    );
    for (what, compared, read) in &shapes {
        assert_eq!((compared, read), (comparisons, reads), "{what}");
    }
    let basic = Some(live.clone());
    assert!(iam.authenticate(Presented { basic, ..Presented::default() }).await.is_ok());
}
