//! The front door: arguments → one command. Each command is a file.
//!
//! Exit codes: 0 done, 64 the arguments or the configuration are wrong, others as the command says.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

// First, since its macros stand for those that would panic where nobody reads what is said.
#[macro_use]
mod out;

mod admin;
mod backtest;
mod check;
mod demo;
#[cfg(feature = "query")]
mod desk;
mod diff;
#[cfg(feature = "query")]
mod export;
mod failure;
mod history;
#[cfg(feature = "query")]
mod import;
mod jwks;
#[cfg(not(feature = "query"))]
mod later;
mod load;
mod ops;
mod period;
mod publish;
#[cfg(feature = "query")]
mod reconcile;
mod release;
mod reload;
mod replay;
#[cfg(feature = "query")]
mod report;
mod rerate;
mod roles;
mod rows;
mod scribe;
mod tls;
mod up;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The arguments or the configuration are wrong.
const EXIT_USAGE: u8 = 64;

/// An AI gateway whose meter is the source of truth: exact limits, no unmetered call, open numbers.
#[derive(Parser)]
#[command(name = "tollgate", version, after_help = "Without a command it does `up`.")]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    Up(up::Args),
    Check(check::Args),
    Demo(demo::Args),
    Replay(replay::Args),
    Rerate(rerate::Args),
    Backtest(backtest::Args),
    Release(release::Args),
    #[cfg(feature = "query")]
    Report(Box<report::Args>),
    #[cfg(feature = "query")]
    #[command(subcommand)]
    Export(export::Export),
    #[cfg(feature = "query")]
    Import(import::Args),
    #[cfg(feature = "query")]
    Reconcile(Box<reconcile::Args>),
    #[cfg(not(feature = "query"))]
    #[command(flatten)]
    Later(later::Later),
}

fn main() -> ExitCode {
    // Every TLS client of the process uses the same cryptography; a second install changes nothing.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(answer) => {
            // Nobody is left to tell if it cannot be printed.
            let _ = answer.print();
            return if answer.use_stderr() { ExitCode::from(EXIT_USAGE) } else { ExitCode::SUCCESS };
        }
    };
    match cli.command.unwrap_or_else(|| Command::Up(up::Args::default())) {
        Command::Up(args) => up::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Replay(args) => replay::run(&args),
        Command::Rerate(args) => rerate::run(&args),
        Command::Backtest(args) => backtest::run(&args),
        Command::Release(args) => release::run(&args),
        #[cfg(feature = "query")]
        Command::Report(args) => report::run(&args),
        #[cfg(feature = "query")]
        Command::Export(export) => export::run(&export),
        #[cfg(feature = "query")]
        Command::Import(args) => import::run(&args),
        #[cfg(feature = "query")]
        Command::Reconcile(args) => reconcile::run(&args),
        #[cfg(not(feature = "query"))]
        Command::Later(later) => later::run(&later),
    }
}
