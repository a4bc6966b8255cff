//! The command line.

mod operators;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::config::RegistrationMode;

pub(crate) use operators::{
    Deliveries, DeliveriesList, DeliveriesMove, Hosts, HostsList, SteerHost,
};

/// A Mastodon-compatible server whose three jobs scale apart.
#[derive(Debug, Parser)]
#[command(name = "tidegate", version)]
pub(crate) struct Cli {
    /// The configuration file; without it ./tidegate.toml is read if it is there.
    #[arg(long, global = true, env = "TIDEGATE_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// Overrides one setting; may be repeated.
    #[arg(long = "set", global = true, value_name = "SECTION.KEY=VALUE")]
    pub(crate) set: Vec<String>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Runs the server.
    Run(RunArgs),
    /// Brings the database's schema up to date.
    Migrate,
    /// Reads the configuration and says what is wrong with it.
    CheckConfig(CheckConfigArgs),
    /// Looks whether everything that the configuration names is there and usable.
    Doctor(RunArgs),
    /// What only the operator does.
    #[command(subcommand)]
    Admin(Admin),
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// Which job this process does; may be repeated.
    #[arg(long = "role", value_enum, default_value = "all")]
    pub(crate) roles: Vec<Role>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Role {
    /// All three in one process.
    All,
    /// Answers people and remote servers.
    Api,
    /// Turns one event into all its effects.
    Fanout,
    /// Carries activities to the rest of the fediverse.
    Delivery,
}

#[derive(Debug, Args)]
pub(crate) struct CheckConfigArgs {
    /// Prints every setting with its default and what it means, and checks nothing.
    #[arg(long)]
    pub(crate) defaults: bool,
    /// The roles to check for, as given to `run`.
    #[arg(long = "role", value_enum, default_value = "all")]
    pub(crate) roles: Vec<Role>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Admin {
    /// Makes and changes accounts.
    #[command(subcommand)]
    Account(Account),
    /// Lets strangers sign up, or not; felt by running nodes within five seconds.
    Registrations {
        /// Who may sign up.
        mode: RegistrationMode,
    },
    /// Counts accounts, posts, what waits and what was delivered.
    Status,
    /// Compares what was planned with what became of it, and names every difference.
    VerifyDeliveries,
    /// Messages that nobody could handle.
    #[command(subcommand)]
    DeadMessages(DeadMessages),
    /// Remote hosts: what waits for them, and a hand on them.
    #[command(subcommand)]
    Hosts(Hosts),
    /// Deliveries: what is on its way, what died, and what is done about it.
    #[command(subcommand)]
    Deliveries(Deliveries),
    /// How delivery is divided among processes.
    #[command(subcommand)]
    Shards(Shards),
}

#[derive(Debug, Subcommand)]
pub(crate) enum Shards {
    /// Changes the number of delivery shards, while no delivery process runs.
    Set {
        /// The new number.
        // The same bounds as of queue.shards.
        #[arg(value_parser = clap::value_parser!(u32).range(1..=1024))]
        count: u32,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Account {
    /// Makes an account; prints the password when none is given.
    Create(NewAccount),
    /// Confirms an account's mail address.
    Confirm {
        /// The account's name, without a domain.
        username: String,
    },
    /// Gives an account a role.
    SetRole {
        /// The account's name, without a domain.
        username: String,
        /// What it may do.
        role: UserRole,
    },
}

#[derive(Debug, Args)]
pub(crate) struct NewAccount {
    /// The name, without a domain.
    #[arg(long)]
    pub(crate) username: String,
    /// Where its mails go.
    #[arg(long)]
    pub(crate) email: String,
    /// A file that holds the password; `-` reads standard input. Without it one is made up.
    #[arg(long)]
    pub(crate) password_file: Option<PathBuf>,
    /// What it may do.
    #[arg(long, value_enum, default_value = "user")]
    pub(crate) role: UserRole,
    /// Counts the mail address as confirmed, so that no mail is needed to log in.
    #[arg(long)]
    pub(crate) confirmed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum UserRole {
    /// Posts.
    User,
    /// Moderates.
    Moderator,
    /// Administers.
    Admin,
    /// Owns the place.
    Owner,
}

impl UserRole {
    /// As the database spells it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Moderator => "moderator",
            Self::Admin => "admin",
            Self::Owner => "owner",
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum DeadMessages {
    /// Shows the oldest, with the reason.
    List {
        /// How many.
        #[arg(long, default_value_t = 50)]
        limit: u16,
    },
    /// Puts them back into their queues, oldest first.
    Redrive {
        /// How many at most.
        #[arg(long, default_value_t = 1000)]
        limit: u16,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn roles_may_be_repeated_and_default_to_all() {
        let cli = Cli::parse_from(["tidegate", "run", "--role", "api", "--role", "fanout"]);
        let Command::Run(args) = cli.command else {
            panic!("another command");
        };
        assert_eq!(args.roles, [Role::Api, Role::Fanout]);
        let cli = Cli::parse_from(["tidegate", "run"]);
        let Command::Run(args) = cli.command else {
            panic!("another command");
        };
        assert_eq!(args.roles, [Role::All]);
    }
}
