//! §2.7: with checkpoints a long lease does not begin anew with every leader.

use std::time::Duration;

use chainfire_core::lease::{self, LeaseId};
use chainfire_raft::Timing;
use chainfire_server::{Config, Doors};
use holdfast_proto::etcdserverpb::{
    LeaseGrantRequest, LeaseKeepAliveRequest, LeaseTimeToLiveRequest, lease_client::LeaseClient,
};
use tokio::{net::TcpListener, time::timeout};
use tonic::transport::{Channel, Endpoint};

use crate::{support::Single, three::PATIENCE};

fn config() -> Config {
    Config { lease_checkpoints: Some(Duration::from_secs(2)), ..Config::new(Timing::default()) }
}

async fn leases(single: &Single) -> anyhow::Result<LeaseClient<Channel>> {
    let router = single.chainfire.routes(Doors::open()).into_axum_router();
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let channel = Endpoint::new(format!("http://{}", listener.local_addr()?))?.connect_lazy();
    tokio::spawn(holdfast_rpc::serve(listener, router, None, holdfast_rpc::Limits::default(), single.stop.clone()));
    Ok(LeaseClient::new(channel))
}

/// Waits for a checkpoint of lease 7 that shows that time has passed.
async fn checkpoint(single: &Single) -> anyhow::Result<i64> {
    let state = single.chainfire.group().state();
    let mut applied = state.applied_changes();
    let written = async {
        loop {
            applied.borrow_and_update();
            match lease::remaining(state, LeaseId(7))? {
                Some(left) if left < 59 => return anyhow::Ok(left),
                _ => applied.changed().await?,
            }
        }
    };
    timeout(PATIENCE, written).await?
}

#[tokio::test]
async fn a_long_lease_goes_on_where_it_was() -> anyhow::Result<()> {
    let single = Single::start_in(tempfile::tempdir()?, config()).await?;
    let mut client = leases(&single).await?;
    client.lease_grant(LeaseGrantRequest { ttl: 60, id: 7 }).await?;
    client.lease_grant(LeaseGrantRequest { ttl: 2, id: 8 }).await?;
    checkpoint(&single).await?;

    // A renewal must not be undone by a leader that comes later.
    let renew = tokio_stream::iter([LeaseKeepAliveRequest { id: 7 }]);
    let renewed = client.lease_keep_alive(renew).await?.into_inner().message().await?;
    assert_eq!(renewed.map(|renewed| renewed.ttl), Some(60));
    assert_eq!(lease::remaining(single.chainfire.group().state(), LeaseId(7))?, None);

    let left = checkpoint(&single).await?;
    assert_eq!(lease::remaining(single.chainfire.group().state(), LeaseId(8))?, None);
    let single = Single::start_in(single.end().await, config()).await?;
    let asked = LeaseTimeToLiveRequest { id: 7, keys: false };
    let told = leases(&single).await?.lease_time_to_live(asked).await?.into_inner();
    // An election on top of what was left.
    assert!((left - 10..=left + 1).contains(&told.ttl), "{} of {left}", told.ttl);
    assert_eq!(told.granted_ttl, 60);
    single.end().await;
    Ok(())
}
