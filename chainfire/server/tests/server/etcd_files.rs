//! Names and certificates as etcd's operators have them: any name, files shared by all members, or none at all.

use std::fs;

use chainfire_server::dropin::ServerError;
use holdfast_proto::etcdserverpb::MemberListRequest;
use tokio::net::TcpListener;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint};

use crate::{
    authority::Authority,
    kv::{get, put},
    support::TestServer,
    three::cluster_of,
};

/// What goes in at one member comes out at another.
async fn holds_together(servers: &[TestServer]) -> anyhow::Result<()> {
    servers[0].kv().put(put("k", "v")).await?;
    let found = servers[2].kv().range(get("k")).await?.into_inner();
    assert_eq!(found.kvs[0].value, b"v"[..]);
    Ok(())
}

#[tokio::test]
async fn members_have_any_names() -> anyhow::Result<()> {
    let names = ["Infra 0", "infra.1", "INFRA_2"];
    let servers = cluster_of(names, "http", &[]).await?;
    holds_together(&servers).await?;
    let members = servers[1].cluster().member_list(MemberListRequest::default()).await?.into_inner().members;
    let mut told: Vec<_> = members.iter().map(|member| member.name.as_str()).collect();
    told.sort_unstable();
    assert_eq!(told, ["INFRA_2", "Infra 0", "infra.1"]);
    Ok(())
}

#[tokio::test]
async fn one_certificate_for_all_hosts_is_enough_for_peers() -> anyhow::Result<()> {
    let (folder, authority) = (tempfile::tempdir()?, Authority::new()?);
    let (certificate, key) = authority.issue("peers")?;
    let files = [("peer-trusted-ca-file", &authority.pem), ("peer-cert-file", &certificate), ("peer-key-file", &key)];
    let mut flags = Vec::new();
    for (flag, pem) in files {
        let path = folder.path().join(flag);
        fs::write(&path, pem)?;
        flags.push(format!("--{flag}={}", path.display()));
    }
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    holds_together(&cluster_of(["a", "b", "c"], "https", &flags).await?).await
}

#[tokio::test]
async fn peers_make_their_own_certificates() -> anyhow::Result<()> {
    holds_together(&cluster_of(["a", "b", "c"], "https", &["--peer-auto-tls"]).await?).await
}

#[tokio::test]
async fn clients_are_shown_a_certificate_that_was_made_here() -> anyhow::Result<()> {
    let flags = ["--auto-tls", "--listen-client-urls=https://127.0.0.1:0"];
    let server = TestServer::member(&flags, TcpListener::bind("127.0.0.1:0").await?).await?;
    let port = server.address.port();
    let made = fs::read(server.folder().join("fixtures/client/cert.pem"))?;
    let endpoint = Endpoint::new(format!("https://127.0.0.1:{port}"))?;
    let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(made)).domain_name("127.0.0.1");
    let server = server.through(endpoint.tls_config(tls)?.connect_lazy());
    server.kv().put(put("k", "v")).await?;
    Ok(())
}

#[tokio::test]
async fn one_port_speaks_both_ways() -> anyhow::Result<()> {
    let flags = ["--auto-tls", "--listen-client-urls=http://127.0.0.1:0,https://127.0.0.1:0"];
    let server = TestServer::member(&flags, TcpListener::bind("127.0.0.1:0").await?).await?;
    server.kv().put(put("k", "v")).await?;
    let made = fs::read(server.folder().join("fixtures/client/cert.pem"))?;
    let endpoint = Endpoint::new(format!("https://127.0.0.1:{}", server.address.port()))?;
    let secure = server.through(
        endpoint.tls_config(ClientTlsConfig::new().ca_certificate(Certificate::from_pem(made)))?.connect_lazy(),
    );
    assert_eq!(secure.kv().range(get("k")).await?.into_inner().kvs.len(), 1);
    Ok(())
}

#[tokio::test]
async fn the_folder_of_an_etcd_is_left_alone() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    fs::create_dir_all(folder.path().join("member/snap"))?;
    fs::write(folder.path().join("member/snap/db"), "an etcd's")?;
    let error = TestServer::open(folder, &[]).await.err().and_then(|error| error.downcast::<ServerError>().ok());
    assert!(matches!(error, Some(ServerError::EtcdData(_))), "{error:?}");
    Ok(())
}
