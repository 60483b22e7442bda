//! §2.10: users of a cluster: what one member was told, every other knows.

use holdfast_proto::authpb::permission::Type;

use super::{QUICK, denied, from, refused};
use crate::{
    kv::{get, put},
    three::cluster,
};

#[tokio::test]
async fn every_member_knows_tokens_and_rights_at_once() -> anyhow::Result<()> {
    let servers = cluster(&[QUICK]).await?;
    let [a, b, c] = servers.as_slice() else { anyhow::bail!("three servers") };
    let root = a.switch_on().await?;
    for server in [b, c] {
        server.kv().put(from(&root, put("k", "v"))).await?;
    }
    let mira = b.user_with(&root, "mira", &[(Type::Read, "k", "")]).await?;
    for server in [c, a, b] {
        assert_eq!(server.kv().range(from(&mira, get("k"))).await?.into_inner().count, 1);
        assert_eq!(refused(server.kv().put(from(&mira, put("k", "v"))).await), denied());
    }
    for (server, other) in [(a, b), (b, c), (c, a)] {
        server.grant(&root, "mira", Type::Readwrite, "k", "").await?;
        other.kv().put(from(&mira, put("k", "v"))).await?;
        server.grant(&root, "mira", Type::Write, "k", "").await?;
        assert_eq!(refused(other.kv().range(from(&mira, get("k"))).await), denied());
        let token = other.log_in("mira").await?;
        server.kv().put(from(&token, put("k", "v"))).await?;
    }
    Ok(())
}
