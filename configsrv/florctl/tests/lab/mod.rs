//! A server whose operators are at their desks.
#![allow(dead_code, clippy::unwrap_used, reason = "each test file uses its own part and ends where it fails")]

#[path = "../../../server/tests/support/mod.rs"]
pub(crate) mod support;

use std::{net::SocketAddr, sync::Arc};

use configsrv_fleet::{SealedRevocations, revocation::FILE};
use configsrv_server::{ACCESS_HTTP, Settings, router};
use holdfast_service::Stop;
use holdfast_testkit::copy_folder;
use iam_client::IamLayer;
use serde_json::Value;
use tokio::net::TcpListener;

use crate::desk::{Desk, Said};
use support::{Rules, service};

pub(crate) struct Lab {
    pub(crate) desk: Desk,
    pub(crate) url: String,
    pub(crate) address: SocketAddr,
}

impl Lab {
    /// With version 1 of the example published.
    pub(crate) async fn new() -> Self {
        let (service, _) = service(Settings::default());
        tokio::spawn(service.clone().run(Stop::new()));
        let app = router(service).layer(IamLayer::new(Arc::new(Rules), ACCESS_HTTP.iter().copied()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, app).await });
        let lab = Self { desk: Desk::new(), url: format!("http://{address}"), address };
        lab.publish();
        lab
    }

    /// At the desk whose version is published.
    pub(crate) fn run(&self, words: &str) -> Said {
        self.run_at(&self.desk, words)
    }

    /// At any desk, with the key that is there.
    pub(crate) fn run_at(&self, desk: &Desk, words: &str) -> Said {
        let key = desk.sign_key().display().to_string();
        let variables =
            [("HOLDFAST_HTTP", self.url.as_str()), ("HOLDFAST_TOKEN", support::OPERATOR), ("FLORCTL_SIGN_KEY", &key)];
        desk.command(words, &variables)
    }

    pub(crate) fn publish(&self) {
        self.run("compile").expect(0);
        self.run("publish --yes").expect(0);
    }

    /// A second operator, who has the repository as it is now and the same keys.
    pub(crate) fn colleague(&self) -> Desk {
        let desk = Desk::empty();
        copy_folder(&self.desk.repo(), &desk.repo()).unwrap();
        copy_folder(&self.desk.keys(), &desk.keys()).unwrap();
        desk
    }

    pub(crate) fn file(&self) -> SealedRevocations {
        SealedRevocations::parse(self.desk.read(FILE).trim_end().as_bytes()).unwrap()
    }

    pub(crate) fn lane(&self) -> Value {
        self.run("revocations -o json").expect(0).json()
    }
}
