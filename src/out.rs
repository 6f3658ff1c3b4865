//! What commands say: on standard output what was asked for, on standard error the rest.
//!
//! Who reads it may leave before all of it is said (`tollgate check | head`). Then the rest is said to nobody, and the command goes on to
//! its end, since it may be in the middle of what it was asked to do. The macros of the standard library would panic there, so these stand
//! in their place in all files of the binary.

use std::{
    fmt,
    io::{self, Write as _},
};

/// What was asked for could not be written, though somebody reads it.
const EXIT_UNSAID: i32 = 1;

macro_rules! println {
    ($($what:tt)*) => { $crate::out::say(format_args!("{}\n", format_args!($($what)*))) };
}

macro_rules! print {
    ($($what:tt)*) => { $crate::out::say(format_args!($($what)*)) };
}

macro_rules! eprintln {
    ($($what:tt)*) => { $crate::out::remark(format_args!("{}\n", format_args!($($what)*))) };
}

/// Says something on standard output.
pub(crate) fn say(what: fmt::Arguments<'_>) {
    if let Err(error) = unless_left(io::stdout().lock().write_fmt(what)) {
        eprintln!("error: standard output cannot be written: {error}");
        // What was asked for would be taken for whole.
        std::process::exit(EXIT_UNSAID);
    }
}

/// Says something on standard error. Where that cannot be nobody is left to tell.
pub(crate) fn remark(what: fmt::Arguments<'_>) {
    let _ = io::stderr().lock().write_fmt(what);
}

/// Writes bytes to standard output, or for nobody.
#[cfg(feature = "query")]
pub(crate) fn put(bytes: &[u8]) -> io::Result<()> {
    unless_left(io::stdout().lock().write_all(bytes))
}

/// That who reads has left is no error.
fn unless_left(written: io::Result<()>) -> io::Result<()> {
    written.or_else(|error| if error.kind() == io::ErrorKind::BrokenPipe { Ok(()) } else { Err(error) })
}
