//! The binary: roles, wiring, lifecycle and commands. The only crate that knows all the others.

mod cli;
mod commands;
mod config;
mod embedded_postgres;
mod lifecycle;
mod roles;
mod wiring;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

/// For what blocks a thread when everything else has ended. That can only be the system looking up
/// a name, which takes ten seconds when no name server answers and whose answer nobody wants.
const LINGER: Duration = Duration::from_millis(100);

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    // Two TLS users in one process must agree on a provider, so it is named once, here.
    let _already_set = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let ended = tokio::runtime::Runtime::new()
        .map_err(anyhow::Error::from)
        .and_then(|runtime| {
            let ended = runtime.block_on(commands::execute(cli));
            runtime.shutdown_timeout(LINGER);
            ended
        });
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tidegate: {error:#}");
            ExitCode::FAILURE
        }
    }
}
