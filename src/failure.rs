//! Why a command or a role cannot go on: what, whose fault it is, what to do, and the code of its page where it has one.

use std::{fmt, io, net::SocketAddr};

use schemas::error_code::ErrorCode;
#[cfg(not(feature = "query"))]
use schemas::id::Offset;

/// Why something could not be done.
#[derive(Debug)]
pub(crate) struct Failure {
    code: Option<ErrorCode>,
    text: String,
    /// Whether the same may work a moment later.
    pub(crate) may_pass: bool,
}

impl Failure {
    /// A failure that has a page.
    pub(crate) fn coded(code: ErrorCode, text: impl fmt::Display) -> Self {
        Self::new(Some(code), &text)
    }

    fn new(code: Option<ErrorCode>, error: &impl fmt::Display) -> Self {
        Self { code, text: error.to_string(), may_pass: false }
    }

    /// A past that is in the lake only, which this build cannot read.
    #[cfg(not(feature = "query"))]
    pub(crate) fn trimmed(lake: &str, to: &[Offset]) -> Self {
        let (lane, first) = to.iter().enumerate().find(|(_, first)| first.0 > 0).unwrap_or((0, &Offset(0)));
        let what = format_args!(
            "the log has let go of the offsets before {} of lane {lane}, which are in the lake {lake}, and this build has none: use one with \
             the feature `query`",
            first.0
        );
        Self::new(Some(ErrorCode::HistoryGap), &what)
    }

    /// The code of its page.
    pub(crate) fn code(&self) -> Option<ErrorCode> {
        self.code
    }

    /// An address that cannot be listened on.
    pub(crate) fn listen(address: SocketAddr, error: &io::Error) -> Self {
        Self::new(Some(ErrorCode::CannotListen), &format_args!("cannot listen on {address}: {error}"))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(code) = self.code {
            write!(f, "{code}: ")?;
        }
        f.write_str(&self.text)
    }
}

impl From<journal::Error> for Failure {
    fn from(error: journal::Error) -> Self {
        Self { may_pass: error.may_pass(), ..Self::new(Some(error.code()), &error) }
    }
}

impl From<gateway::GatewayError> for Failure {
    fn from(error: gateway::GatewayError) -> Self {
        Self::new(error.code(), &error)
    }
}

impl From<metering::Error> for Failure {
    fn from(error: metering::Error) -> Self {
        Self::new(error.code(), &error)
    }
}

#[cfg(feature = "query")]
impl From<query::archive::ArchiveError> for Failure {
    fn from(error: query::archive::ArchiveError) -> Self {
        Self::new(error.code(), &error)
    }
}

#[cfg(feature = "query")]
impl From<query::error::Error> for Failure {
    fn from(error: query::error::Error) -> Self {
        Self::new(Some(error.code()), &error)
    }
}

#[cfg(feature = "query")]
impl From<query::RunError> for Failure {
    fn from(error: query::RunError) -> Self {
        Self::new(error.code(), &error)
    }
}

impl From<schemas::wire::WireError> for Failure {
    fn from(error: schemas::wire::WireError) -> Self {
        Self::new(Some(ErrorCode::JournalCorrupt), &error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::new(None, &format_args!("the operating system refused: {error}"))
    }
}

impl From<String> for Failure {
    fn from(text: String) -> Self {
        Self::new(None, &text)
    }
}

impl From<&str> for Failure {
    fn from(text: &str) -> Self {
        Self::new(None, &text)
    }
}
