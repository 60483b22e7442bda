//! Waiting for something to become true, instead of sleeping and hoping.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

/// How often a condition is looked at.
const EVERY: Duration = Duration::from_millis(20);

/// Calls `condition` until it gives a value. When it has not within `timeout`, the error names `what` was waited for.
///
/// # Errors
/// When the condition fails for good (its error) or does not hold in time.
pub fn wait_until<T>(timeout: Duration, what: &str, mut condition: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let begun = Instant::now();
    loop {
        if let Some(value) = condition()? {
            return Ok(value);
        }
        if begun.elapsed() >= timeout {
            bail!("waited {:.0} s in vain for {what}", timeout.as_secs_f64());
        }
        thread::sleep(EVERY);
    }
}

/// [`wait_until`] for a condition that has to be awaited: it leaves the thread to others between two looks.
///
/// # Errors
/// When the condition fails for good (its error) or does not hold within `patience`.
#[cfg(feature = "async")]
pub async fn eventually<T>(
    what: &str,
    patience: Duration,
    mut condition: impl AsyncFnMut() -> Result<Option<T>>,
) -> Result<T> {
    let begun = Instant::now();
    loop {
        if let Some(value) = condition().await? {
            return Ok(value);
        }
        if begun.elapsed() >= patience {
            bail!("waited {:.0} s in vain for {what}", patience.as_secs_f64());
        }
        tokio::time::sleep(EVERY).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(feature = "async")]
    #[tokio::test]
    async fn an_awaited_condition_is_looked_at_until_it_holds() {
        let mut looks = 0;
        let value = eventually("three looks", Duration::from_secs(5), async || {
            looks += 1;
            Ok((looks == 3).then_some("done"))
        });
        assert_eq!(value.await.unwrap(), "done");
        let error = eventually("rain", Duration::ZERO, async || Ok(None::<()>)).await.unwrap_err();
        assert_eq!(error.to_string(), "waited 0 s in vain for rain");
    }

    #[test]
    fn a_condition_is_looked_at_until_it_holds() {
        let mut looks = 0;
        let value = wait_until(Duration::from_secs(5), "three looks", || {
            looks += 1;
            Ok((looks == 3).then_some("done"))
        });
        assert_eq!(value.unwrap(), "done");
    }

    #[test]
    fn what_was_waited_for_is_named() {
        let error = wait_until(Duration::ZERO, "rain", || Ok(None::<()>)).unwrap_err();
        assert_eq!(error.to_string(), "waited 0 s in vain for rain");
    }

    #[test]
    fn an_error_ends_the_wait() {
        let error = wait_until(Duration::from_secs(60), "rain", || bail!("drought") as Result<Option<()>>).unwrap_err();
        assert_eq!(error.to_string(), "drought");
    }
}
