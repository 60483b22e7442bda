use holdfast_proto::etcdserverpb::{LeaseGrantRequest, LeaseTimeToLiveRequest};

use crate::kv::{get, put};
use crate::support::TestServer;

#[tokio::test]
async fn everything_acknowledged_is_there_after_a_restart() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    server.kv().put(put("a", "1")).await?;
    server.lease().lease_grant(LeaseGrantRequest { ttl: 60, id: 7 }).await?;
    let server = server.restart().await?;
    let found = server.kv().range(get("a")).await?.into_inner();
    assert_eq!((found.count, found.header.unwrap_or_default().revision), (1, 2));
    let lease = LeaseTimeToLiveRequest { id: 7, keys: false };
    let lease = server.lease().lease_time_to_live(lease).await?.into_inner();
    // A new leader gives every lease its whole time again, and an election on top.
    assert!((58..=61).contains(&lease.ttl), "{}", lease.ttl);
    server.kv().put(put("b", "2")).await?;
    Ok(())
}
