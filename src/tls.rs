//! TLS of the listeners: made of files, and made again when these change.
//!
//! A file that cannot be used keeps a process from starting. Later it changes nothing: what was in use stays so, and it is said. Open
//! connections go on as they began; a client whose certificate is not asked for or not signed by one of the authorities gets no
//! further than the handshake.

use std::{
    fs,
    path::Path,
    sync::{Arc, PoisonError, RwLock, Weak},
    thread,
};

use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::WebPkiClientVerifier,
};
use schemas::{
    config::{Config, Listener, Tls},
    error_code::ErrorCode,
};

use crate::failure::Failure;

/// What the files say, as they were read last.
#[derive(PartialEq)]
struct Pem {
    cert: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

struct Kept {
    tls: Tls,
    /// What is spoken, by its name in the handshake.
    protocols: &'static [&'static [u8]],
    current: RwLock<Arc<ServerConfig>>,
}

/// TLS for a listener, if the configuration has it for that. It is read again for as long as somebody has it.
pub(crate) fn of(config: &Config, listener: Listener) -> Result<Option<listen::Tls>, Failure> {
    let Some(tls) = config.tls.iter().find(|tls| tls.on.contains(&listener)) else { return Ok(None) };
    let pem = Pem::read(tls)?;
    let protocols: &'static [&'static [u8]] = match listener {
        Listener::Gateway => &[b"h2", b"http/1.1"],
        Listener::Postgres => &[b"postgresql"],
        Listener::Flight => &[b"h2"],
        Listener::Query | Listener::Ops | Listener::Admin => &[b"http/1.1"],
    };
    let current = RwLock::new(pem.config(tls, protocols)?);
    let kept = Arc::new(Kept { tls: tls.clone(), protocols, current });
    let watched = Arc::downgrade(&kept);
    thread::Builder::new().name("tls".into()).spawn(move || watch(&watched, pem))?;
    Ok(Some(Arc::new(move || Arc::clone(&kept.current.read().unwrap_or_else(PoisonError::into_inner)))))
}

/// Looks at the files again and again, until nobody has what they make any more.
fn watch(kept: &Weak<Kept>, mut known: Pem) {
    let mut wrong = String::new();
    while let Some(reload) = kept.upgrade().map(|kept| kept.tls.reload) {
        thread::sleep(reload);
        let Some(kept) = kept.upgrade() else { return };
        let made = Pem::read(&kept.tls).and_then(|pem| {
            if pem == known {
                return Ok(None);
            }
            let config = pem.config(&kept.tls, kept.protocols)?;
            Ok(Some((pem, config)))
        });
        match made {
            Ok(None) => wrong.clear(),
            Ok(Some((pem, config))) => {
                known = pem;
                wrong.clear();
                *kept.current.write().unwrap_or_else(PoisonError::into_inner) = config;
                tracing::info!(cert = %kept.tls.cert.display(), "the certificate was read again and is in use");
            }
            // Said once, and not with every look.
            Err(error) if error.to_string() != wrong => {
                wrong = error.to_string();
                tracing::error!(%error, "the certificate that was in use stays so");
            }
            Err(_) => {}
        }
    }
}

impl Pem {
    fn read(tls: &Tls) -> Result<Self, Failure> {
        let read = |path: &Path| fs::read(path).map_err(|error| unusable(path, &error));
        Ok(Self {
            cert: read(&tls.cert)?,
            key: read(&tls.key)?,
            client_ca: tls.client_ca.as_deref().map(read).transpose()?,
        })
    }

    fn config(&self, tls: &Tls, protocols: &[&[u8]]) -> Result<Arc<ServerConfig>, Failure> {
        let chain = certificates(&tls.cert, &self.cert)?;
        let key = PrivateKeyDer::from_pem_slice(&self.key).map_err(|error| unusable(&tls.key, &error))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| unusable(&tls.cert, &error))?;
        let builder = match (&tls.client_ca, &self.client_ca) {
            (Some(path), Some(pem)) => {
                let mut roots = RootCertStore::empty();
                for authority in certificates(path, pem)? {
                    roots.add(authority).map_err(|error| unusable(path, &error))?;
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
                builder.with_client_cert_verifier(verifier.map_err(|error| unusable(path, &error))?)
            }
            _ => builder.with_no_client_auth(),
        };
        let mut config = builder.with_single_cert(chain, key).map_err(|error| unusable(&tls.cert, &error))?;
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        Ok(Arc::new(config))
    }
}

fn certificates(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let all = all.map_err(|error| unusable(path, &error))?;
    if all.is_empty() { Err(unusable(path, &"it has no certificate")) } else { Ok(all) }
}

fn unusable(path: &Path, why: &dyn std::fmt::Display) -> Failure {
    Failure::coded(ErrorCode::BadCertificate, format_args!("{}: {why}", path.display()))
}
