//! A copy of an answer, made beside the client's as it passes, and kept only if all of it passed and its attempt is settled as complete.
//!
//! The copy is bytes of its own: pieces of what was read from a connection would keep all that was read with them. It is given up as
//! soon as it is longer than an answer may be, so that each open call has at most so much of it.

use std::{
    pin::Pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
    time::Instant,
};

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, Response, StatusCode, header};
use http_body::{Body as _, Frame, SizeHint};

use super::{Kept, Key, Made, lead::Lead};
use crate::{relay::is_ours, worker::Shared};

/// What is kept of an answer's head; the rest is of the one call that it was made for.
const HEADERS: [HeaderName; 5] = [
    header::CONTENT_TYPE,
    header::CONTENT_ENCODING,
    HeaderName::from_static("x-tollgate-not-carried"),
    HeaderName::from_static("x-tollgate-served-by"),
    HeaderName::from_static("x-tollgate-capped"),
];

/// Where an attempt says how its answer was made, once it is settled as one that is known and came to its end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Note(Arc<Slip>);

#[derive(Debug, Default)]
struct Slip {
    made: OnceLock<Made>,
    is_withdrawn: AtomicBool,
}

impl Note {
    /// The answer was made like this. There is one settlement, so this is said once.
    pub(crate) fn set(&self, made: Made) {
        let _ = self.0.made.set(made);
    }

    /// The answer is not kept after all: what its client gets of it is an error.
    pub(crate) fn withdraw(&self) {
        self.0.is_withdrawn.store(true, Ordering::Relaxed);
    }

    fn made(&self) -> Option<Made> {
        self.0.made.get().filter(|_| !self.0.is_withdrawn.load(Ordering::Relaxed)).cloned()
    }
}

/// An answer that is to be kept, if it may be.
#[derive(Clone)]
pub(crate) struct Wanted {
    pub(crate) shared: Arc<Shared>,
    pub(crate) key: Key,
    /// The most bytes of its body.
    pub(crate) most: u64,
    /// By which others wait for it, until it is kept or will not be.
    pub(crate) _lead: Option<Arc<Lead>>,
}

/// The body of an answer that is copied as it passes.
struct Copied {
    body: Body,
    copy: Option<Box<Copy>>,
}

struct Copy {
    wanted: Wanted,
    note: Note,
    headers: HeaderMap,
    bytes: Vec<u8>,
    /// How many bytes the head says that there are.
    stated: Option<usize>,
}

/// The same answer, of which a copy is kept once all of it has passed and `note` says how it was made.
pub(crate) fn keep(wanted: &Wanted, response: Response<Body>, note: Note) -> Response<Body> {
    if response.status() != StatusCode::OK {
        return response;
    }
    let (head, body) = response.into_parts();
    let mut headers = HeaderMap::new();
    for name in HEADERS {
        if let Some(value) = head.headers.get(&name) {
            headers.insert(name, value.clone());
        }
    }
    let stated = head.headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    let copy = Copy { wanted: wanted.clone(), note, headers, bytes: Vec::new(), stated };
    Response::from_parts(head, Body::new(Copied { body, copy: Some(Box::new(copy)) }))
}

impl Copied {
    fn take(&mut self, data: &[u8]) {
        let Some(copy) = self.copy.as_mut().filter(|_| !is_ours(data)) else { return };
        if (copy.bytes.len() + data.len()) as u64 > copy.wanted.most {
            self.copy = None;
            return;
        }
        copy.bytes.extend_from_slice(data);
        // Who knows how much comes does not ask for more.
        if copy.stated == Some(copy.bytes.len()) || self.body.is_end_stream() {
            self.put();
        }
    }

    fn put(&mut self) {
        let Some((copy, made)) = self.copy.take().and_then(|copy| copy.note.made().map(|made| (copy, made))) else {
            return;
        };
        let Copy { wanted, headers, bytes, .. } = *copy;
        let body = Bytes::from(bytes.into_boxed_slice());
        wanted.shared.cache.put(wanted.key, Kept { headers, body, made }, Instant::now());
    }
}

impl http_body::Body for Copied {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let next = ready!(Pin::new(&mut self.body).poll_frame(cx));
        match &next {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    self.take(data);
                }
            }
            Some(Err(_)) => self.copy = None,
            None => self.put(),
        }
        Poll::Ready(next)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
