//! The binary: roles, wiring, lifecycle and commands. The only crate that knows all the others.

mod cli;
mod commands;
mod config;
mod embedded_postgres;
mod lifecycle;
mod roles;
mod wiring;

use std::process::ExitCode;

use clap::Parser;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    // Two TLS users in one process must agree on a provider, so it is named once, here.
    let _already_set = rustls::crypto::aws_lc_rs::default_provider().install_default();
    match commands::execute(cli).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tidegate: {error:#}");
            ExitCode::FAILURE
        }
    }
}
