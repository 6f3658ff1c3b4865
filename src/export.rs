//! `tollgate export`: the facts as files that other systems take.

use std::process::ExitCode;

use clap::Subcommand;

mod focus;
mod parquet;

/// Write what was spent as files for other systems.
#[derive(Subcommand)]
pub(crate) enum Export {
    Focus(Box<focus::Args>),
    Parquet(parquet::Args),
}

pub(crate) fn run(export: &Export) -> ExitCode {
    match export {
        Export::Focus(args) => focus::run(args),
        Export::Parquet(args) => parquet::run(args),
    }
}
