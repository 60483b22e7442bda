use std::{env, fs, path::Path};

use anyhow::{Context as _, Result};
use holdfast_proto::iam::{
    Binding, CreateCredentialRequest, CreatePrincipalRequest, GrantRequest, KeyGrant, admin_client::AdminClient,
    credentials_client::CredentialsClient,
};
use holdfast_testkit::{Binaries, Cluster, free_ports};

use super::servers::{Flags, Servers};
use crate::door::{Doors, Entrance};

/// What the pairs of one server may take: no scenario is to meet a quota. The default is 2 GiB.
const QUOTA: u64 = 12 << 30;

/// Servers that take etcd's flags. Everything that is neither an address nor the quota is left at its default.
pub(super) fn alike(program: &Path, words: &[&str], members: usize, folder: &Path) -> Result<(Servers, Entrance)> {
    let ports = (0..members).map(|_| free_ports()).collect::<Result<Vec<[u16; 2]>>>()?;
    let url = |port: u16| format!("http://127.0.0.1:{port}");
    let peers: Vec<_> =
        ports.iter().enumerate().map(|(number, [_, peer])| format!("m{number}={}", url(*peer))).collect();
    let mut processes = Vec::new();
    for (number, [client, peer]) in ports.iter().enumerate() {
        let mut arguments: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        arguments.extend([
            format!("--name=m{number}"),
            format!("--data-dir={}", folder.join(format!("m{number}")).display()),
            format!("--listen-client-urls={}", url(*client)),
            format!("--advertise-client-urls={}", url(*client)),
            format!("--listen-peer-urls={}", url(*peer)),
            format!("--initial-advertise-peer-urls={}", url(*peer)),
            format!("--initial-cluster={}", peers.join(",")),
            format!("--quota-backend-bytes={QUOTA}"),
        ]);
        let flags = Flags { program: program.to_owned(), arguments };
        processes.push((flags.start(number, folder)?, flags));
    }
    let urls = ports.iter().map(|[client, _]| url(*client)).collect();
    Ok((Servers::Alike { logs: folder.to_owned(), members: processes }, Entrance { urls, ..Entrance::default() }))
}

/// This program as the server that does nothing.
pub(super) fn nothing(folder: &Path) -> Result<(Servers, Entrance)> {
    let [port] = free_ports()?;
    let address = format!("127.0.0.1:{port}");
    let arguments = vec!["nothing".to_owned(), format!("--listen={address}")];
    let flags = Flags { program: env::current_exe().context("the path of this program")?, arguments };
    let members = vec![(flags.start(0, folder)?, flags)];
    let entrance = Entrance { urls: vec![format!("http://{address}")], ..Entrance::default() };
    Ok((Servers::Alike { logs: folder.to_owned(), members }, entrance))
}

/// The whole suite, whose clients speak TLS and log in as a service that may read and write all keys.
pub(super) async fn suite(members: usize, folder: &Path) -> Result<(Servers, Entrance)> {
    let mut cluster = Cluster::start_secured(&Binaries::find()?, folder, members)?;
    cluster.wait_ready()?;
    let urls = cluster.servers().iter().map(|server| Ok(format!("https://{}", server.endpoints()?.api)));
    let entrance = Entrance {
        urls: urls.collect::<Result<_>>()?,
        authority: Some(fs::read_to_string(Cluster::authority(folder)).context("the authority of the certificates")?),
        login: Some(("admin".to_owned(), cluster.admin_token()?)),
    };
    let login = Some(account(&entrance).await.context("no account for the clients")?);
    Ok((Servers::Suite(cluster), Entrance { login, ..entrance }))
}

/// A new service's access key and its secret.
async fn account(administrator: &Entrance) -> Result<(String, String)> {
    let service = "service/bench".to_owned();
    let door = Doors::open(administrator, 1).await?.wire(0);
    let mut admin = AdminClient::new(door.clone());
    admin.create_principal(CreatePrincipalRequest { id: service.clone(), ..Default::default() }).await?;
    let all_keys = KeyGrant { start: vec![0].into(), end: vec![].into(), read: true, write: true, forbid: false };
    let binding =
        Binding { subject: service.clone(), role: "reader".to_owned(), keys: vec![all_keys], ..Default::default() };
    admin.grant(GrantRequest { binding: Some(binding), ..Default::default() }).await?;
    let create = CreateCredentialRequest { principal: service, ..Default::default() };
    let created = CredentialsClient::new(door).create(create).await?.into_inner();
    Ok((created.credential.context("no credential in the answer")?.access_key_id, created.secret))
}
