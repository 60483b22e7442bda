//! One module for each command.

mod audit;
mod backup;
mod bundle;
mod ca;
mod compile;
mod diff;
mod enrollment;
mod fleet;
mod history;
mod iam;
mod init;
mod lock;
mod overtaken;
mod plan;
mod publish;
mod restore;
mod revocations;
mod revoke;
mod schema;
mod status;
mod validate;
mod versions;
mod watch;
mod why;

use std::path::Path;

use clap::CommandFactory as _;

use crate::{
    cli::{Cli, Command},
    failure::{Code, Failure},
    output,
    settings::Settings,
};

/// Runs the command and says how to end.
pub(crate) async fn run(cli: Cli) -> Result<Code, Failure> {
    let Cli { output, connection, command } = cli;
    let settings = || Settings::resolve(&connection);
    match command {
        Command::Init(options) => init::run(&options, output),
        Command::Schema(options) => schema::run(&options),
        Command::Validate(repository) => validate::run(&repository, output),
        Command::Compile(options) => compile::run(&options, output),
        Command::Diff(options) => {
            let settings = options.published.then(settings).transpose()?;
            diff::run(&options, settings.as_ref(), output).await
        }
        Command::Plan(options) => plan::run(&options, &settings()?, output).await,
        Command::Rebase(options) => compile::rebase(&options, &settings()?, output).await,
        Command::Publish(options) => publish::run(&options, &settings()?, output).await,
        Command::Versions(options) => versions::run(&options, &settings()?, output).await,
        Command::Fleet(options) if options.watch => watch::run(&options, &settings()?, output).await,
        Command::Fleet(options) => fleet::run(&options, &settings()?, output).await,
        Command::Node { name } => fleet::one(&name, &settings()?, output).await,
        Command::Why { name } => why::run(&name, &settings()?, output).await,
        Command::Revoke(options) => revoke::run(&options, &settings()?, output).await,
        Command::Revocations => revocations::run(&settings()?, output).await,
        Command::Ca(command) => ca::run(&command, output),
        Command::IssueBundle(options) => bundle::run(&options, &connection, output),
        Command::Enrollment(command) => enrollment::run(&command, &settings()?, output).await,
        Command::Iam(command) => iam::run(command, &settings()?, output).await,
        Command::History(options) => history::run(options, &settings()?, output).await,
        Command::Audit(options) => audit::run(&options, &settings()?, output).await,
        Command::Lock(command) => lock::run(command, &settings()?, output).await,
        Command::Status => status::run(&settings()?, output).await,
        Command::Backup(options) => backup::run(&options, &settings()?, output).await,
        Command::Restore(options) => restore::run(&options, output),
        Command::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "florctl", &mut text);
            output::write(&text).map(|()| Code::Done)
        }
        Command::Man { out } => manual(out.as_deref()),
    }
}

fn manual(folder: Option<&Path>) -> Result<Code, Failure> {
    let command = Cli::command();
    match folder {
        Some(folder) => {
            let write = || {
                std::fs::create_dir_all(folder)?;
                clap_mangen::generate_to(command, folder)
            };
            write().map_err(|error| Failure::file(folder, &error))?;
        }
        None => {
            let mut text = Vec::new();
            clap_mangen::Man::new(command).render(&mut text).map_err(Failure::unexpected)?;
            output::write(&text)?;
        }
    }
    Ok(Code::Done)
}
