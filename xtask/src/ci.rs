//! What CI runs, in the order in which a mistake is found fastest.

use anyhow::Result;

use crate::{cargo::Cargo, layout::Layout, native, steps::Steps, test, tidy, tools};

pub(crate) fn run(layout: &Layout) -> Result<()> {
    let mut steps = Steps::default();
    let ready = steps.run("set up", || {
        native::ensure(layout)?;
        tools::ensure_clients(layout)
    });
    steps.run("format", || Cargo::new(layout, "fmt").arguments(["--all", "--check"]).run());
    steps.run("tidy", || tidy::run(layout));
    steps.run_after(ready, "lint", || {
        let clippy = Cargo::new(layout, "clippy");
        clippy.arguments(["--workspace", "--all-targets", "--locked", "--", "-D", "warnings"]).run()
    });
    test::steps(layout, &mut steps, ready, test::Clients::Required);
    steps.finish()
}
