//! `tollgate import`: puts a CSV file in the place of an imported table.

use std::{path::PathBuf, process::ExitCode};

use query::{
    imports::{self, Imported},
    lake::Lake,
};
use tokio::runtime::Builder;

use crate::{EXIT_USAGE, load::load};

/// Put what a CSV file says in the place of an imported table: business_metrics, shared_costs or commitments.
///
/// The first line names columns, which `GET /v1/tables` describes; an empty field is NULL. The file is taken whole or not at all, and what it says
/// is in the next answer. Every row that was imported before is replaced.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The table.
    #[arg(value_parser = table)]
    table: &'static Imported,
    /// The file.
    file: PathBuf,
    /// The configuration file; only its `lake` is used.
    #[arg(long, value_name = "FILE", default_value = "tollgate.yaml")]
    config: PathBuf,
}

fn table(name: &str) -> Result<&'static Imported, String> {
    let known = || imports::ALL.iter().map(|table| table.name).collect::<Vec<_>>().join(", ");
    imports::by_name(name).ok_or_else(|| format!("there are {}", known()))
}

pub(crate) fn run(args: &Args) -> ExitCode {
    let loaded = match load(&args.config) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    let named = args.file.display();
    let text = match std::fs::read(&args.file) {
        Ok(text) => text,
        Err(error) => {
            eprintln!("error: {named} cannot be read: {error}");
            return ExitCode::from(EXIT_USAGE);
        }
    };
    let done =
        Builder::new_multi_thread().worker_threads(1).enable_all().build().map_err(|error| error.to_string()).and_then(
            |runtime| {
                let imports = Lake::imports_of(&loaded.config.lake.to_string())
                    .map_err(|error| format!("{}: {error}", error.code()))?;
                runtime.block_on(imports.replace(args.table, &text)).map_err(|error| format!("{named}: {error}"))
            },
        );
    match done {
        Ok(rows) => {
            println!("{} has {rows} rows now", args.table.name);
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
