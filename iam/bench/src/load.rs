use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use holdfast_bench::{Bearer, Certified, Plane, Wire};
use holdfast_proto::iam::{
    AddMemberRequest, GetSchemaRequest, admin_client::AdminClient, policies_client::PoliciesClient,
};
use serde::Serialize;

use crate::{
    histogram::{Histogram, Took},
    population::{GROUP, Population, name},
};

/// Callers at once, each with a connection of its own.
const CALLERS: usize = 8;
/// Tokens that are issued at once.
const AT_ONCE: usize = 64;

/// Callers of all kinds, set up.
pub(crate) struct Load<'a> {
    plane: &'a Plane,
    /// One for each caller, which the server has seen.
    known: Vec<Bearer>,
    /// One for each request.
    fresh: Vec<Bearer>,
    certificate: Certified,
    requests: usize,
}

/// How a kind of caller was admitted.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Line {
    pub(crate) callers: &'static str,
    pub(crate) took: Took,
    pub(crate) per_second: f64,
}

impl<'a> Load<'a> {
    pub(crate) async fn new(plane: &'a Plane, population: Population, requests: usize) -> Result<Self> {
        let admin = plane.administrator(0).await?;
        let issue = async |count: usize| {
            // Spread over the whole population.
            let of = (0..count).map(|number| name(number * population.principals / count));
            let issued = stream::iter(of).map(|principal| {
                let admin = admin.clone();
                async move { plane.issue(&admin, &principal).await }
            });
            issued.buffer_unordered(AT_ONCE).try_collect::<Vec<_>>().await
        };
        let (known, fresh) = (issue(CALLERS).await?, issue(requests).await?);
        Ok(Self { plane, known, fresh, certificate: enroll(&admin, population).await?, requests })
    }

    pub(crate) async fn run(&self) -> Result<Vec<Line>> {
        let mut known = Vec::new();
        for bearer in &self.known {
            known.push(bearer.on(&self.plane.connect(0).await?));
        }
        let share = self.requests.div_ceil(CALLERS);
        let mut fresh = Vec::new();
        for bearers in self.fresh.chunks(share) {
            let channel = self.plane.connect(0).await?;
            fresh.push(bearers.iter().map(|bearer| bearer.on(&channel)).collect::<Vec<_>>());
        }
        let mut certified = Vec::new();
        for _ in 0..CALLERS {
            certified.push(self.plane.connect_as(0, &self.certificate).await?);
        }
        Ok(vec![
            self.measure("tokens that the server knows", known.into_iter().map(|wire| vec![wire; share])).await?,
            self.measure("tokens that it sees for the first time", fresh).await?,
            self.measure("certificates", certified.into_iter().map(|wire| vec![wire; share])).await?,
        ])
    }

    /// Each caller makes its calls one after the other.
    async fn measure(&self, callers: &'static str, calls: impl IntoIterator<Item = Vec<Wire>>) -> Result<Line> {
        let before = Histogram::parse(&self.plane.metrics(0).await?)?;
        let begun = Instant::now();
        let mut tasks = tokio::task::JoinSet::new();
        let mut count = 0;
        for calls in calls {
            count += calls.len();
            tasks.spawn(async move {
                for wire in calls {
                    PoliciesClient::new(wire).get_schema(GetSchemaRequest {}).await?;
                }
                Ok::<_, tonic::Status>(())
            });
        }
        while let Some(ended) = tasks.join_next().await {
            ended??;
        }
        let elapsed = begun.elapsed();
        let took = Histogram::parse(&self.plane.metrics(0).await?)?.since(&before);
        ensure!(took.requests >= count as f64, "the server admitted {} of {count} requests", took.requests);
        Ok(Line { callers, took, per_second: count as f64 / elapsed.max(Duration::from_nanos(1)).as_secs_f64() })
    }
}

/// A node with a certificate that may ask what is measured.
async fn enroll(admin: &Wire, population: Population) -> Result<Certified> {
    let node = Certified::enroll(admin, &format!("n{}", population.principals)).await?;
    let member = AddMemberRequest { group: GROUP.to_owned(), member: format!("node/{}", node.node) };
    AdminClient::new(admin.clone()).add_member(member).await?;
    Ok(node)
}
