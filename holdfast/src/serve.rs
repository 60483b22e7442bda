//! The life of a server process: configuration, runtime, services, signals, exit code.

use std::{ffi::OsString, fmt::Display, path::Path, process::ExitCode};

use chainfire_server::dropin;
use holdfast_service::{Stop, on_signal};
use holdfast_telemetry::Format;
use tokio::runtime::Runtime;

use crate::{
    cli::EXIT_CONFIG,
    config::{self, Flags, Fragment, GivenSecrets},
    plane::Plane,
    secrets::{self, SecretsError},
};

/// `holdfast serve`.
pub(crate) fn suite(file: Option<&Path>, flags: &Flags) -> ExitCode {
    let fragment = match file.map_or_else(|| Ok(Fragment::default()), config::read) {
        Ok(fragment) => fragment,
        Err(finding) => return refuse("the configuration cannot be used", [finding]),
    };
    let given = GivenSecrets::new(flags, &fragment);
    let settings = match config::validate(flags, fragment) {
        Ok(settings) => settings,
        Err(findings) => {
            // Nobody should repair the settings only to hear of the secrets then.
            let secrets = secrets::findings(&given);
            let findings = findings.iter().map(ToString::to_string).chain(secrets.iter().map(ToString::to_string));
            return refuse("the configuration cannot be used", findings);
        }
    };
    if let Err(error) = holdfast_telemetry::init(&settings.log.filter, settings.log.format) {
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
        let plane = Plane::open(settings, secrets).await?;
        plane.run(stop).await
    })
}

/// `holdfast chainfire`, or a link to this binary that is called `etcd`.
pub(crate) fn chainfire(args: Vec<OsString>) -> ExitCode {
    let (flags, warnings) = match dropin::Flags::parse_from_etcd(args) {
        Ok(parsed) => parsed,
        Err(error) => error.0.exit(),
    };
    let settings = match dropin::Settings::try_from(flags) {
        Ok(settings) => settings,
        Err(error) => return refuse("the flags cannot be used", [error]),
    };
    if let Err(error) = holdfast_telemetry::init(&settings.log_filter, Format::Json) {
        return refuse("the flags cannot be used", [error]);
    }
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    run(async move |stop| {
        let server = dropin::Server::open(settings).await?;
        server.run(stop).await?;
        Ok(())
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
        Err(error) => fail(format_args!("{error:#}")),
    }
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
