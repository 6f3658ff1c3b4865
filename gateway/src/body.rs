//! Reading a request's body: bounded in size, in time and, over all calls, in memory; decoded where it is compressed.
//!
//! It is read after authentication only, so that nobody without a key can make the gateway hold anything. What goes on to
//! the provider is the decoded body.

use std::{io::Read as _, sync::Arc};

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, header};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use schemas::error_code::ErrorCode;

use crate::{
    error::Fault,
    worker::{Shared, Taken},
};

/// Above this a body is decoded off the async threads, and below it at once.
const OFFLOAD: usize = 64 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encoding {
    Identity,
    Gzip,
    Zstd,
}

/// The whole body of a request, and its share of the memory that bodies may take.
pub(crate) async fn read(shared: &Arc<Shared>, headers: &HeaderMap, body: Body) -> Result<(Bytes, Taken), Fault> {
    let most = shared.server.max_body;
    let encoding = encoding(headers)?;
    let stated = body.size_hint().exact();
    if stated.is_some_and(|size| size > most) {
        return Err(too_large(most));
    }
    let mut taken = Taken::nothing(Arc::clone(shared));
    let reading = collect(body, stated.unwrap_or(0), most, &mut taken);
    let bytes = tokio::time::timeout(shared.server.body_timeout, reading).await.unwrap_or_else(|_| {
        Err(Fault::new(ErrorCode::BodyTooSlow, "send it faster, or raise `server.body_timeout`"))
    })?;
    if encoding == Encoding::Identity {
        return Ok((bytes, taken));
    }
    let decoded = if bytes.len() > OFFLOAD {
        tokio::task::spawn_blocking(move || decode(encoding, &bytes, most)).await.unwrap_or_else(|_| Err(unreadable()))
    } else {
        decode(encoding, &bytes, most)
    }?;
    grow(&mut taken, decoded.len())?;
    Ok((decoded, taken))
}

fn encoding(headers: &HeaderMap) -> Result<Encoding, Fault> {
    let mut stated = headers.get_all(header::CONTENT_ENCODING).iter();
    let first = stated.next().map(|value| value.as_bytes().to_ascii_lowercase());
    match first.as_deref().map(<[u8]>::trim_ascii) {
        None | Some(b"" | b"identity") if stated.next().is_none() => Ok(Encoding::Identity),
        Some(b"gzip" | b"x-gzip") if stated.next().is_none() => Ok(Encoding::Gzip),
        Some(b"zstd") if stated.next().is_none() => Ok(Encoding::Zstd),
        _ => Err(Fault::new(ErrorCode::UnsupportedEncoding, "send it as it is, or with gzip or zstd")),
    }
}

async fn collect(mut body: Body, stated: u64, most: u64, taken: &mut Taken) -> Result<Bytes, Fault> {
    // Only what has come counts against the budget: a length is stated in a moment, and its bytes may never come.
    let mut first: Option<Bytes> = None;
    let mut rest = BytesMut::new();
    let mut size = 0_u64;
    while let Some(frame) = body.frame().await {
        let broken = |_| Fault::new(ErrorCode::MalformedJson, "the body broke off").never();
        let Ok(data) = frame.map_err(broken)?.into_data() else { continue };
        size += data.len() as u64;
        if size > most {
            return Err(too_large(most));
        }
        grow(taken, data.len())?;
        match first.take() {
            None if rest.is_empty() => first = Some(data),
            None => rest.extend_from_slice(&data),
            Some(before) => {
                rest.reserve(usize::try_from(stated.max(size)).unwrap_or(0));
                rest.extend_from_slice(&before);
                rest.extend_from_slice(&data);
            }
        }
    }
    Ok(first.unwrap_or_else(|| rest.freeze()))
}

fn grow(taken: &mut Taken, bytes: usize) -> Result<(), Fault> {
    if taken.grow(bytes as u64) {
        return Ok(());
    }
    Err(Fault::new(ErrorCode::TooBusy, "the bodies of other calls fill the memory set aside for them; try again"))
}

/// A body as it was before whoever sends it with these headers encoded it; at most so many bytes.
#[cfg(feature = "fuzz")]
pub(crate) fn decoded(headers: &HeaderMap, bytes: &[u8], most: u64) -> Result<Bytes, Fault> {
    decode(encoding(headers)?, bytes, most)
}

fn decode(encoding: Encoding, bytes: &[u8], most: u64) -> Result<Bytes, Fault> {
    let mut out = Vec::with_capacity(bytes.len().saturating_mul(4).min(1 << 20));
    let read = match encoding {
        Encoding::Identity => return Ok(Bytes::copy_from_slice(bytes)),
        Encoding::Gzip => flate2::read::MultiGzDecoder::new(bytes).take(most + 1).read_to_end(&mut out),
        Encoding::Zstd => zstd::stream::read::Decoder::new(bytes)
            .and_then(|mut decoder| decoder.window_log_max(27).map(|()| decoder))
            .and_then(|decoder| decoder.take(most + 1).read_to_end(&mut out)),
    };
    read.map_err(|_| unreadable())?;
    if out.len() as u64 > most { Err(too_large(most)) } else { Ok(Bytes::from(out)) }
}

fn unreadable() -> Fault {
    Fault::new(ErrorCode::UnsupportedEncoding, "the body is not what its content-encoding says")
}

fn too_large(most: u64) -> Fault {
    Fault::new(ErrorCode::BodyTooLarge, format!("at most {most} bytes are taken, decoded; `server.max_body` sets it"))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn compressed_bodies_are_decoded_up_to_the_cap() {
        let text = vec![b'a'; 10_000];
        for (encoding, bytes) in
            [(Encoding::Gzip, gzip(&text)), (Encoding::Zstd, zstd::encode_all(&text[..], 1).unwrap())]
        {
            assert_eq!(decode(encoding, &bytes, 10_000).unwrap(), text);
            assert_eq!(decode(encoding, &bytes, 9_999).unwrap_err().code, ErrorCode::BodyTooLarge);
            assert_eq!(decode(encoding, &bytes[1..], 10_000).unwrap_err().code, ErrorCode::UnsupportedEncoding);
        }
    }

    #[test]
    fn only_known_encodings_are_taken() {
        let check = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::CONTENT_ENCODING, http::HeaderValue::from_static(value));
            }
            encoding(&headers).map_err(|fault| fault.code)
        };
        assert_eq!(check(&[]), Ok(Encoding::Identity));
        assert_eq!(check(&["GZIP"]), Ok(Encoding::Gzip));
        for bad in [&["br"][..], &["gzip", "zstd"], &["gzip, gzip"]] {
            assert_eq!(check(bad), Err(ErrorCode::UnsupportedEncoding));
        }
    }
}
