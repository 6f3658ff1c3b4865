//! `tollgate export parquet`: the tables as plain Parquet in Hive's folders, which appear whole or not at all.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use query::plain::{self, Days, MANIFEST};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use schemas::{config::Log, time::Time};
use tokio::runtime::Builder;

use crate::{EXIT_USAGE, failure::Failure, load::load};

/// Write the tables of the lake as plain Parquet, `TABLE/day=YYYY-MM-DD/*.parquet`, with a manifest, for readers that look for files.
///
/// The folder appears whole, or changes from the export before to this one in a single step; who lists it meanwhile sees one or the other. It needs
/// the lake only, and has what is shelved there, some 30 seconds after the calls.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The folder; one that is there already has to be an earlier export.
    #[arg(long, value_name = "FOLDER")]
    output: PathBuf,
    /// The first day of the tables that have days.
    #[arg(long, value_name = "DAY", value_parser = day)]
    from: Option<String>,
    /// The first day after them.
    #[arg(long, value_name = "DAY", value_parser = day)]
    to: Option<String>,
    /// The configuration file; only its `lake` and `log` are used.
    #[arg(long, value_name = "FILE", default_value = "tollgate.yaml")]
    config: PathBuf,
}

fn day(text: &str) -> Result<String, &'static str> {
    let day = Time::parse(text).ok().map(|at| at.to_string()).filter(|at| at.starts_with(text) && text.len() == 10);
    day.map(|_| text.to_owned()).ok_or("write a day such as 2026-11-01")
}

pub(super) fn run(args: &Args) -> ExitCode {
    let loaded = match load(&args.config) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    let output = &args.output;
    if output.exists() && !output.join(MANIFEST).exists() {
        eprintln!("error: {} is there and is no earlier export; name another folder", output.display());
        return ExitCode::from(EXIT_USAGE);
    }
    let lanes = match &loaded.config.log {
        Log::Disk { .. } => journal::Options::default().lanes,
        Log::Kafka(kafka) => kafka.lanes,
    };
    match export(args, &loaded.config.lake.to_string(), lanes) {
        Ok(rows) => {
            println!("{rows} rows in {}", output.display());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn export(args: &Args, lake: &str, lanes: u16) -> Result<u64, Failure> {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let output = std::path::absolute(&args.output)?;
    let (Some(parent), Some(name)) = (output.parent(), output.file_name()) else {
        return Err("the output has to be a folder with a name".into());
    };
    fs::create_dir_all(parent)?;
    // A name of its own, with a dot before it, which readers pass over; what a crash leaves is never taken for an export.
    let partial = parent.join(format!(".{}.partial-{}", name.to_string_lossy(), std::process::id()));
    let days = Days { from: args.from.clone(), to: args.to.clone() };
    let written = runtime.block_on(plain::write(lake, lanes, &days, &partial));
    let placed =
        written.map_err(Failure::from).and_then(|manifest| place(&partial, &output, parent).map(|()| manifest));
    // What is left there is an earlier export, or half of this one.
    let removed = if partial.exists() { fs::remove_dir_all(&partial) } else { Ok(()) };
    let manifest = placed?;
    removed?;
    let rows = manifest["tables"].as_array().into_iter().flatten().filter_map(|table| table["rows"].as_u64());
    Ok(rows.sum())
}

/// Puts the finished folder in its place, in one step.
fn place(partial: &Path, output: &Path, parent: &Path) -> Result<(), Failure> {
    let how = if output.exists() { RenameFlags::EXCHANGE } else { RenameFlags::NOREPLACE };
    renameat_with(CWD, partial, CWD, output, how).map_err(std::io::Error::from)?;
    Ok(fs::File::open(parent)?.sync_all()?)
}

impl From<plain::PlainError> for Failure {
    fn from(error: plain::PlainError) -> Self {
        match error {
            plain::PlainError::Lake(error) => error.into(),
            plain::PlainError::Empty(_) | plain::PlainError::Write { .. } => Self::from(error.to_string()),
        }
    }
}
