//! The life of a server process: configuration, runtime, services, signals, exit code.

use std::{ffi::OsString, fmt::Display, path::Path, process::ExitCode};

use chainfire_server::dropin;
use holdfast_service::{Stop, on_signal};
use holdfast_telemetry::Output;
use tokio::runtime::Runtime;

use crate::{
    cli::EXIT_CONFIG,
    config::{self, Flags, Fragment, GivenSecrets, Settings},
    plane::Plane,
    process,
    secrets::{self, SecretsError},
};

/// `holdfast serve`.
pub(crate) fn suite(file: Option<&Path>, flags: &Flags) -> ExitCode {
    let (settings, given) = match configured(file, flags) {
        Ok(configured) => configured,
        Err(refused) => return refused,
    };
    // The lab has no secrets worth more than a look with a debugger.
    if !settings.dev
        && let Err(error) = process::protect_memory()
    {
        return fail(format_args!("the keys in memory cannot be protected: {error}"));
    }
    if let Err(error) = holdfast_telemetry::init(&settings.log.filter, settings.log.format, &[Output::Stderr]) {
        return refuse("the configuration cannot be used", [error]);
    }
    if let Err(error) = std::fs::create_dir_all(&settings.data_dir) {
        return fail(format_args!("cannot create {}: {error}", settings.data_dir.display()));
    }
    let secrets = match secrets::load(&given) {
        Ok(secrets) => secrets,
        Err(SecretsError::Contract(findings)) => return refuse("identity cannot be started", findings),
        Err(error) => return fail(error),
    };
    run(async move |stop| {
        let Some(plane) = until_stopped(&stop, Plane::open(settings, secrets)).await? else { return Ok(()) };
        plane.run(stop).await
    })
}

/// `holdfast serve --print-config`.
pub(crate) fn print_config(file: Option<&Path>, flags: &Flags) -> ExitCode {
    let (settings, given) = match configured(file, flags) {
        Ok(configured) => configured,
        Err(refused) => return refused,
    };
    match config::effective(&settings, &given, |name| std::env::var_os(name).is_some()) {
        Ok(text) => {
            println!("# data folder: {}\n{text}", settings.data_dir.display());
            ExitCode::SUCCESS
        }
        Err(error) => fail(error),
    }
}

/// What file and flags say, or the exit code after everything that is wrong with them has been said.
fn configured(file: Option<&Path>, flags: &Flags) -> Result<(Settings, GivenSecrets), ExitCode> {
    const REFUSED: &str = "the configuration cannot be used";
    let fragment =
        file.map_or_else(|| Ok(Fragment::default()), config::read).map_err(|finding| refuse(REFUSED, [finding]))?;
    let given = GivenSecrets::new(flags, &fragment);
    match config::validate(flags, fragment) {
        Ok(settings) => match config::certificates(&settings) {
            findings if findings.is_empty() => Ok((settings, given)),
            findings => Err(refuse(REFUSED, findings)),
        },
        Err(findings) => {
            // Nobody should repair the settings only to hear of the secrets then.
            let secrets = secrets::findings(&given);
            let findings = findings.iter().map(ToString::to_string).chain(secrets.iter().map(ToString::to_string));
            Err(refuse(REFUSED, findings))
        }
    }
}

/// `holdfast chainfire`, or a link to this binary that is called `etcd`.
pub(crate) fn chainfire(args: Vec<OsString>) -> ExitCode {
    let (flags, warnings) = match dropin::Flags::parse_from_etcd(args) {
        Ok(parsed) => parsed,
        Err(dropin::FlagError::Line(error)) => error.exit(),
        Err(error) => return refuse("the flags cannot be used", [error]),
    };
    let settings = match dropin::Settings::try_from(flags) {
        Ok(settings) => settings,
        Err(error) => return refuse("the flags cannot be used", [error]),
    };
    if let Err(error) = holdfast_telemetry::init(&settings.log_filter, settings.log_format, &settings.log_outputs) {
        return refuse("the flags cannot be used", [error]);
    }
    for warning in warnings.iter().chain(&settings.warnings) {
        tracing::warn!("{warning}");
    }
    run(async move |stop| {
        let opening = async { Ok(dropin::Server::open(settings).await?) };
        let Some(server) = until_stopped(&stop, opening).await? else { return Ok(()) };
        Ok(server.run(stop).await?)
    })
}

/// Runs a server until it ends or the process is told to stop.
fn run(server: impl AsyncFnOnce(Stop) -> anyhow::Result<()>) -> ExitCode {
    let runtime = match Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return fail(format_args!("cannot start the runtime: {error}")),
    };
    let ended = runtime.block_on(async {
        let stop = Stop::new();
        let signals = tokio::spawn(on_signal(stop.clone()));
        let ended = server(stop.clone()).await;
        stop.request();
        // A failure to listen for signals shows here; the server has ended anyway.
        let heard = signals.await;
        ended.and(heard?.map_err(Into::into))
    });
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if can_never_work(&error) => {
            eprintln!("holdfast: {error:#}");
            ExitCode::from(EXIT_CONFIG)
        }
        Err(error) => fail(format_args!("{error:#}")),
    }
}

/// What `opening` gives, or nothing if the process is told to stop: a restored server waits for the others before it is
/// open.
async fn until_stopped<T>(stop: &Stop, opening: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<Option<T>> {
    tokio::select! {
        opened = opening => opened.map(Some),
        () = stop.requested() => Ok(None),
    }
}

/// Whether only another configuration would help, so that a supervisor need not try again.
fn can_never_work(error: &anyhow::Error) -> bool {
    use chainfire_raft::Error::{Config, Membership, Tls};
    use dropin::ServerError;
    let raft = match error.downcast_ref() {
        Some(ServerError::NewMember | ServerError::EtcdData(_) | ServerError::Tls(_)) => return true,
        Some(ServerError::Raft(error)) => Some(error),
        Some(_) => None,
        None => error.downcast_ref(),
    };
    matches!(raft, Some(Config(_) | Membership(_) | Tls(_)))
}

/// Says everything that is wrong and ends so that no supervisor tries again.
fn refuse<F: Display>(what: &str, findings: impl IntoIterator<Item = F>) -> ExitCode {
    eprintln!("holdfast: {what}:");
    for finding in findings {
        eprintln!("  - {finding}");
    }
    ExitCode::from(EXIT_CONFIG)
}

fn fail(error: impl Display) -> ExitCode {
    eprintln!("holdfast: {error}");
    ExitCode::FAILURE
}
