use std::time::Duration;

use async_trait::async_trait;
use configsrv_fleet::artifact::Activation;
use tokio::time::sleep;

use super::{
    child,
    liveness::{CONFIG_REJECTED, UnitState},
};
use crate::machine::Failure;

/// How long a program may take to accept its new file.
const PATIENCE: Duration = Duration::from_secs(60);

/// Tells programs of their new files.
#[async_trait]
pub(crate) trait Hooks: Send + Sync {
    async fn run(&self, hook: &Activation) -> Result<(), Failure>;

    /// Watches whoever was told for a while; what is no unit is not watched.
    async fn outlive(&self, _hooks: &[&Activation]) -> Result<(), Failure> {
        Ok(())
    }
}

/// Runs real commands, without a shell.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Commands {
    /// How long units have to stay up with what they were told; zero watches none.
    pub liveness: Duration,
}

#[async_trait]
impl Hooks for Commands {
    async fn run(&self, hook: &Activation) -> Result<(), Failure> {
        let words = words(hook);
        let Some((program, arguments)) = words.split_first() else {
            return Err(Failure("an activation names no program".into()));
        };
        let shown = words.join(" ");
        match child::run(program, arguments, PATIENCE).await {
            Err(error) => Err(Failure(format!("{shown}: {error}"))),
            Ok(ended) if ended.status.success() => Ok(()),
            Ok(ended) => {
                let how = if ended.status.code() == Some(CONFIG_REJECTED) || refused(hook).await {
                    "refused its configuration".to_owned()
                } else {
                    ended.status.to_string()
                };
                let said = ended.said;
                Err(Failure(format!("{shown}: {how}{}{said}", if said.is_empty() { "" } else { ": " })))
            }
        }
    }

    async fn outlive(&self, hooks: &[&Activation]) -> Result<(), Failure> {
        let units: Vec<&str> = hooks.iter().filter_map(|hook| unit(hook)).collect();
        if units.is_empty() || self.liveness.is_zero() {
            return Ok(());
        }
        let failed = |unit: &str, why: String| Failure(format!("{unit}: {why}"));
        let mut before = Vec::with_capacity(units.len());
        for unit in &units {
            before.push(UnitState::of(unit).await.map_err(|why| failed(unit, why))?);
        }
        sleep(self.liveness).await;
        for (unit, before) in units.iter().zip(&before) {
            let now = UnitState::of(unit).await.map_err(|why| failed(unit, why))?;
            now.judge(before).map_err(|why| failed(unit, why))?;
        }
        Ok(())
    }
}

fn unit(hook: &Activation) -> Option<&str> {
    match hook {
        Activation::Reload(unit) | Activation::Restart(unit) => Some(unit),
        Activation::Run(_) => None,
    }
}

/// Whether a unit could not be started because its program does not want its configuration; systemctl says only that it
/// could not be started.
async fn refused(hook: &Activation) -> bool {
    let Some(unit) = unit(hook) else { return false };
    UnitState::of(unit).await.is_ok_and(|state| state.refused())
}

fn words(hook: &Activation) -> Vec<&str> {
    match hook {
        Activation::Reload(unit) => vec!["systemctl", "reload", "--", unit],
        Activation::Restart(unit) => vec!["systemctl", "restart", "--", unit],
        Activation::Run(words) => words.iter().map(String::as_str).collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};

    use super::*;
    use crate::disk::with_umask;

    fn run(words: &[&str]) -> Activation {
        Activation::Run(words.iter().map(|&word| word.to_owned()).collect())
    }

    #[tokio::test]
    async fn the_reason_is_what_the_program_said() {
        assert_eq!(Commands::default().run(&run(&["true"])).await, Ok(()));
        let Err(Failure(reason)) = Commands::default().run(&run(&["sh", "-c", "echo no such port >&2; exit 78"])).await
        else {
            panic!("the hook failed")
        };
        assert!(reason.ends_with("refused its configuration: no such port"), "{reason}");
        assert!(Commands::default().run(&run(&["/nowhere/at-all"])).await.is_err());
        assert!(Commands::default().run(&run(&[])).await.is_err());
    }

    #[tokio::test]
    async fn what_a_hook_makes_is_readable_though_the_agent_is_strict() {
        let words = run(&["sh", "-c", "umask >&2; exit 78"]);
        let commands = Commands::default();
        let mut hook = commands.run(&words);
        // The first step starts the program.
        let begun = with_umask(0o077, || hook.as_mut().poll(&mut Context::from_waker(Waker::noop())));
        assert!(begun.is_pending());
        let Err(Failure(reason)) = hook.await else { panic!("the hook failed") };
        assert!(reason.ends_with(": 0022"), "{reason}");
    }
}
