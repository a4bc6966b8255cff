//! What the command line can do, one file per command.

mod account;
mod check_config;
mod dead_messages;
mod deliveries;
mod doctor;
mod hosts;
mod migrate;
mod registrations;
mod run;
mod shards;
mod status;
mod table;
mod verify_deliveries;

use crate::cli::{Admin, Cli, Command, Shards};
use crate::config::{self, Config, Sources};
use crate::roles::Roles;

/// Does what the command line says. The exit code is 0 exactly when this is `Ok`.
pub(crate) async fn execute(cli: Cli) -> anyhow::Result<()> {
    if let Command::CheckConfig(args) = &cli.command
        && args.defaults
    {
        print!("{}", config::DEFAULTS);
        return Ok(());
    }
    let config = config::load(&Sources {
        file: cli.config,
        flags: cli.set,
    })?;
    tidegate_telemetry::init_logging(config.log.format.into(), &config.log.filter)
        .map_err(|error| error.context("log.filter"))?;
    match cli.command {
        Command::Run(args) => run::run(config, Roles::of(&args.roles)).await,
        Command::Migrate => migrate::migrate(&config).await,
        Command::CheckConfig(args) => check_config::check(&config, Roles::of(&args.roles)),
        Command::Doctor(args) => doctor::examine(&config, Roles::of(&args.roles)).await,
        Command::Admin(command) => admin(&config, command).await,
    }
}

async fn admin(config: &Config, command: Admin) -> anyhow::Result<()> {
    match command {
        Admin::Account(command) => account::execute(config, command).await,
        Admin::Registrations { mode } => registrations::set(config, mode).await,
        Admin::Status => status::print(config).await,
        Admin::VerifyDeliveries => verify_deliveries::verify(config).await,
        Admin::Shards(Shards::Set { count }) => shards::set(config, count).await,
        Admin::DeadMessages(command) => dead_messages::execute(config, command).await,
        Admin::Hosts(command) => hosts::execute(config, command).await,
        Admin::Deliveries(command) => deliveries::execute(config, command).await,
    }
}
