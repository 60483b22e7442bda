use std::sync::Arc;

use async_trait::async_trait;
use configsrv_fleet::artifact::Activation;

use super::Hooks;
use crate::{disk::Steps, machine::Failure};

/// Hooks that are steps, too.
pub(crate) struct SteppedHooks<H> {
    hooks: H,
    steps: Arc<Steps>,
}

impl<H: Hooks> SteppedHooks<H> {
    pub(crate) fn new(hooks: H, steps: Arc<Steps>) -> Self {
        Self { hooks, steps }
    }
}

#[async_trait]
impl<H: Hooks> Hooks for SteppedHooks<H> {
    async fn run(&self, hook: &Activation) -> Result<(), Failure> {
        let done = self.hooks.run(hook).await;
        if done.is_ok() {
            self.steps.take("hook");
        }
        done
    }

    async fn outlive(&self, hooks: &[&Activation]) -> Result<(), Failure> {
        self.hooks.outlive(hooks).await
    }
}
