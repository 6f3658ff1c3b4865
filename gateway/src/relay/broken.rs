//! How an answer ends that does not come to its end.

/// An answer that broke off, or could not be recorded: the client's connection is cut, so that it knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Broken {
    #[error("the provider's answer broke off")]
    Upstream,
    /// As bodies end, and not as answers do: with an error, or without its last event.
    #[error("the provider's answer ended too early")]
    Ended,
    #[error("a deadline passed")]
    TimedOut,
    #[error("the gateway is going down")]
    Cut,
    #[error("the end of the answer could not be recorded")]
    Unrecorded,
}
