//! Asking: a statement a line of the input, an Arrow stream with its length before it for each; an error is text with a minus. A statement
//! that begins with `+` may be answered by rollups, any other is by rows.

use std::{
    io::{self, BufRead as _, Write as _},
    path::Path,
    sync::Arc,
};

use journal::{Disk, Options, Road};
use query::{
    here::Here,
    sql::{Caller, encode::Format},
};
use schemas::policy::Tenants;

pub(crate) fn ask(dir: &Path) {
    let road: Arc<dyn Road> = Disk::open(&dir.join("log"), &Options::default()).unwrap();
    let here = Here::open(road, dir.join("lake").to_str().unwrap()).unwrap();
    let caller = Caller::of(Tenants::All);
    let mut out = io::stdout().lock();
    for statement in io::stdin().lock().lines() {
        let statement = statement.unwrap();
        let answered = match statement.strip_prefix('+') {
            Some(statement) => here.answer(&caller, statement, Format::Arrow),
            None => here.answer_by_rows(&caller, &statement, Format::Arrow),
        };
        let (sign, answer) = match answered {
            Ok(answer) => ("", answer),
            Err(error) => ("-", error.to_string().into_bytes()),
        };
        writeln!(out, "{sign}{}", answer.len()).unwrap();
        out.write_all(&answer).unwrap();
        out.flush().unwrap();
    }
    here.close().unwrap();
}
