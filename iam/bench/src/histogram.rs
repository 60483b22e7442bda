use anyhow::{Context as _, Result};
use serde::Serialize;

/// What the servers call it.
const NAME: &str = "holdfast_iam_admission_seconds";

/// How many requests took at most how long, since the server started.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Histogram {
    /// Upper bounds in seconds, ascending, each with the number of requests up to it.
    buckets: Vec<(f64, f64)>,
    sum: f64,
}

/// Microseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Took {
    pub(crate) mean: f64,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) requests: f64,
}

impl Histogram {
    /// Reads it out of a page of metrics.
    pub(crate) fn parse(page: &str) -> Result<Self> {
        let (mut buckets, mut sum) = (Vec::new(), None);
        for line in page.lines() {
            let Some(rest) = line.strip_prefix(NAME) else { continue };
            let value = || line.rsplit(' ').next().and_then(|value| value.parse::<f64>().ok());
            if let Some(bound) = rest.strip_prefix("_bucket{le=\"").and_then(|rest| rest.split('"').next()) {
                let bound = if bound == "+Inf" { f64::INFINITY } else { bound.parse()? };
                buckets.push((bound, value().context("a count")?));
            } else if rest.starts_with("_sum") {
                sum = value();
            }
        }
        Ok(Self { buckets, sum: sum.with_context(|| format!("the server has no {NAME}"))? })
    }

    /// What has been added since `before`.
    pub(crate) fn since(&self, before: &Self) -> Took {
        let added = self.buckets.iter().zip(&before.buckets).map(|(now, then)| (now.0, now.1 - then.1));
        let added: Vec<_> = added.collect();
        let requests = added.last().map_or(0.0, |all| all.1);
        let micros = |seconds: f64| seconds * 1e6;
        Took {
            mean: micros((self.sum - before.sum) / requests.max(1.0)),
            p50: micros(quantile(&added, 0.5 * requests)),
            p99: micros(quantile(&added, 0.99 * requests)),
            requests,
        }
    }
}

/// Where the `rank`-th is, if those within a bucket are spread evenly.
fn quantile(buckets: &[(f64, f64)], rank: f64) -> f64 {
    let mut below = (0.0, 0.0);
    for bucket in buckets {
        if bucket.1 >= rank && bucket.1 > below.1 {
            if bucket.0.is_infinite() {
                return below.0;
            }
            return below.0 + (bucket.0 - below.0) * (rank - below.1) / (bucket.1 - below.1);
        }
        below = *bucket;
    }
    below.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_difference_of_two_pages_counts() {
        let page = |a: u32, b: u32, c: u32, sum: f64| {
            Histogram::parse(&format!(
                "# TYPE {NAME} histogram\n{NAME}_bucket{{le=\"0.00001\"}} {a}\n{NAME}_bucket{{le=\"0.00002\"}} {b}\n\
                 {NAME}_bucket{{le=\"+Inf\"}} {c}\n{NAME}_sum {sum}\n{NAME}_count {c}\n"
            ))
        };
        let took = page(60, 110, 110, 0.002).unwrap().since(&page(10, 10, 10, 0.001).unwrap());
        assert!((took.requests - 100.0).abs() < 1e-9 && (took.mean - 10.0).abs() < 1e-6, "{took:?}");
        assert!((took.p50 - 10.0).abs() < 1e-6 && (took.p99 - 19.8).abs() < 1e-6, "{took:?}");
        assert!(Histogram::parse("nothing").is_err());
    }
}
