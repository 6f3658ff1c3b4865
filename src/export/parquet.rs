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
    if let Err(error) = unmixed(output) {
        eprintln!("error: {error}");
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
    let begins = format!(".{}.partial-", name.to_string_lossy());
    let (partial, _held) = begun(parent, &begins)?;
    let days = Days { from: args.from.clone(), to: args.to.clone() };
    let written = runtime.block_on(plain::write(lake, lanes, &days, &partial));
    let placed =
        written.map_err(Failure::from).and_then(|manifest| place(&partial, &output, parent).map(|()| manifest));
    // What is left there is an earlier export, or half of this one.
    let cleared = removed(&partial);
    let manifest = placed?;
    cleared?;
    let rows = manifest["tables"].as_array().into_iter().flatten().filter_map(|table| table["rows"].as_u64());
    Ok(rows.sum())
}

/// That an earlier export has nothing in it that it did not write, which would be gone with it.
fn unmixed(output: &Path) -> Result<(), Failure> {
    if !output.exists() {
        return Ok(());
    }
    match plain::strange(output)?.first() {
        None => Ok(()),
        Some(first) => Err(Failure::from(format!(
            "{} has what no export wrote, such as {}, and would lose it: move that elsewhere, or name another folder",
            output.display(),
            first.display()
        ))),
    }
}

/// A new folder to write into, locked as long as it is held, which a process that was killed does not do; what such have left is removed.
fn begun(parent: &Path, begins: &str) -> Result<(PathBuf, fs::File), Failure> {
    // One at a time, so that none is removed before it is locked.
    let turn = fs::File::open(parent)?;
    let takes_turns = turn.lock().is_ok();
    for entry in fs::read_dir(parent)?.flatten() {
        if takes_turns && entry.file_name().to_string_lossy().starts_with(begins) {
            let Ok(left) = fs::File::open(entry.path()) else { continue };
            if left.try_lock().is_ok() {
                removed(&entry.path())?;
            }
        }
    }
    let partial = parent.join(format!("{begins}{}", std::process::id()));
    fs::create_dir(&partial)?;
    let held = fs::File::open(&partial)?;
    // Where folders cannot be locked, none is removed either.
    if takes_turns {
        held.lock()?;
    }
    Ok((partial, held))
}

/// Removes a folder, which another export may do as well.
fn removed(folder: &Path) -> std::io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Puts the finished folder in its place, in one step.
fn place(partial: &Path, output: &Path, parent: &Path) -> Result<(), Failure> {
    unmixed(output)?;
    let how = if output.exists() { RenameFlags::EXCHANGE } else { RenameFlags::NOREPLACE };
    renameat_with(CWD, partial, CWD, output, how).map_err(std::io::Error::from)?;
    Ok(fs::File::open(parent)?.sync_all()?)
}

impl From<plain::PlainError> for Failure {
    fn from(error: plain::PlainError) -> Self {
        match error {
            plain::PlainError::Lake(error) => error.into(),
            plain::PlainError::Empty(_) | plain::PlainError::Write { .. } | plain::PlainError::Read { .. } => {
                Self::from(error.to_string())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_export_left_is_removed_and_what_one_writes_is_not() {
        let parent = tempfile::tempdir().expect("a folder");
        let begins = ".out.partial-";
        let [left, other, written] =
            [".out.partial-a", ".outer.partial-a", ".out.partial-b"].map(|name| parent.path().join(name));
        for folder in [&left, &other, &written] {
            fs::create_dir(folder).expect("made");
            fs::write(folder.join("x.parquet"), "x").expect("written");
        }
        let at_work = fs::File::open(&written).expect("opened");
        at_work.lock().expect("locked");
        let (partial, held) = begun(parent.path(), begins).expect("begun");
        assert_eq!([&left, &other, &written, &partial].map(|folder| folder.exists()), [false, true, true, true]);
        // Nor does another remove this one while it is held, wherever it is moved.
        let moved = parent.path().join(".out.partial-c");
        fs::rename(&partial, &moved).expect("moved");
        let (again, _held) = begun(parent.path(), begins).expect("begun again");
        assert!(moved.exists() && again.exists());
        drop(held);
    }

    #[test]
    fn what_no_export_wrote_is_not_lost() {
        let folder = tempfile::tempdir().expect("a folder");
        let [output, partial] = ["out", "new"].map(|name| folder.path().join(name));
        for (at, part) in [(&output, "a"), (&partial, "b")] {
            fs::create_dir_all(at.join("usage/day=2026-11-02")).expect("made");
            let path = format!("usage/day=2026-11-02/{part}.parquet");
            fs::write(at.join(&path), part).expect("written");
            let manifest = format!(r#"{{"tables": [{{"table": "usage", "files": [{{"path": "{path}"}}]}}]}}"#);
            fs::write(at.join(MANIFEST), manifest).expect("written");
        }
        let own = output.join("usage/notes.txt");
        fs::write(&own, "mine").expect("written");
        let refused = place(&partial, &output, folder.path()).expect_err("refused").to_string();
        assert!(refused.contains("usage/notes.txt") && own.exists() && partial.exists(), "{refused}");
        fs::remove_file(&own).expect("moved elsewhere");
        place(&partial, &output, folder.path()).expect("placed");
        assert!(output.join("usage/day=2026-11-02/b.parquet").exists());
    }
}
