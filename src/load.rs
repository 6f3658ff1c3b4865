//! Reads the configuration file, its price files and the environment; says everything that is wrong with them at once.
//!
//! What it gives is complete: a configuration, and the price book that it makes of the built-in one. It prints, because what
//! it has to say is for the person at the terminal; it never prints a secret or the value of a variable.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use schemas::{
    config::{self, Config, InTheClear, Warning},
    error_code::ErrorCode,
    price::{Book, PriceFile},
};

use crate::EXIT_USAGE;

/// A configuration that can be used.
pub(crate) struct Loaded {
    /// The configuration.
    pub(crate) config: Config,
    /// The built-in prices, those of the files, and those of the models, each over the ones before.
    pub(crate) book: Book,
    /// What the user should know.
    pub(crate) warnings: Vec<Warning>,
    /// The development keys and tokens that the file holds in clear.
    pub(crate) clear: InTheClear,
}

/// Loads a configuration. Prints its warnings; or every mistake, and gives the exit code.
pub(crate) fn load(file: &Path) -> Result<Loaded, ExitCode> {
    match read(file) {
        Ok(loaded) => {
            loaded.warnings.iter().for_each(|warning| eprintln!("warning: {warning}"));
            Ok(loaded)
        }
        Err(mistakes) => {
            mistakes.iter().for_each(|mistake| eprintln!("error: {mistake}"));
            let many = if mistakes.len() == 1 { "mistake" } else { "mistakes" };
            eprintln!("{}: {} {many}; each code has a page in schemas/errors", file.display(), mistakes.len());
            Err(ExitCode::from(EXIT_USAGE))
        }
    }
}

/// Loads a configuration, or gives every mistake as a line.
fn read(file: &Path) -> Result<Loaded, Vec<String>> {
    let name = file.display();
    let text = fs::read_to_string(file).map_err(|error| {
        let code = ErrorCode::ConfigUnreadable;
        vec![format!("{name}: {code}: it cannot be read: {error}; name a file with --config FILE")]
    })?;
    let env = |variable: &str| std::env::var(variable).ok();
    let parsed = Config::parse(&text, &name.to_string(), &env);
    let paths = match &parsed {
        Ok((config, _)) => config.prices.clone(),
        Err(_) => config::price_files(&text, &env),
    };
    let (mut files, mut wrong) = (Vec::new(), Vec::new());
    for path in paths {
        match price_file(&path) {
            Ok(file) => files.push(file),
            Err(mistakes) => wrong.extend(mistakes),
        }
    }
    match parsed {
        Ok((config, warnings)) if wrong.is_empty() => {
            files.push(config.model_book.clone());
            let clear = config::in_the_clear(&text, &env);
            Ok(Loaded { book: Book::layered(&files), config, warnings, clear })
        }
        Ok(_) => Err(wrong),
        Err(mistakes) => Err(mistakes.iter().map(ToString::to_string).chain(wrong).collect()),
    }
}

/// Reads a price file, or gives every mistake as a line.
pub(crate) fn price_file(path: &PathBuf) -> Result<PriceFile, Vec<String>> {
    let (name, code) = (path.display(), ErrorCode::BadPriceFile);
    let text = fs::read_to_string(path).map_err(|error| {
        vec![format!(
            "{name}: {code}: it cannot be read: {error}; check the path under prices, which starts where you are"
        )]
    })?;
    Book::parse(&text, &name.to_string()).map_err(|mistakes| {
        mistakes.iter().map(|mistake| format!("{}:{}: {code}: {}", mistake.file, mistake.line, mistake.what)).collect()
    })
}
