//! A real S3 server on loopback, for the tests of the lake: `s3 <directory>` prints its endpoint and serves the folders of
//! the directory as buckets until its input ends, which it does when the test that started it does; then the directory goes.
//!
//! Access key and secret are `test`. Puts are let in one at a time: the file system behind looks whether an object is there
//! and then writes it, which real stores do in one step.

use std::{io::Error, path::PathBuf, sync::Arc};

use hyper::{Method, Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use s3s::{auth::SimpleAuth, service::S3Service, service::S3ServiceBuilder};
use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpStream},
    sync::Mutex,
};

#[tokio::main]
async fn main() -> Result<(), Error> {
    let directory = PathBuf::from(std::env::args_os().nth(1).ok_or_else(|| Error::other("usage: s3 <directory>"))?);
    let files = s3s_fs::FileSystem::new(&directory).map_err(|error| Error::other(format!("{error:?}")))?;
    let mut service = S3ServiceBuilder::new(files);
    service.set_auth(SimpleAuth::from_single("test", "test"));
    let service = service.build();
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("http://{}", listener.local_addr()?);
    let one_put = Arc::new(Mutex::new(()));
    tokio::select! {
        served = accept(listener, service, one_put) => served,
        _ = ended() => std::fs::remove_dir_all(directory),
    }
}

async fn accept(listener: TcpListener, service: S3Service, one_put: Arc<Mutex<()>>) -> Result<(), Error> {
    loop {
        let (socket, _) = listener.accept().await?;
        tokio::spawn(serve(socket, service.clone(), one_put.clone()));
    }
}

async fn serve(socket: TcpStream, service: S3Service, one_put: Arc<Mutex<()>>) {
    let handle = service_fn(|request: Request<Incoming>| async {
        let _turn = if request.method() == Method::PUT { Some(one_put.lock().await) } else { None };
        let answer = service.call(request.map(s3s::Body::from)).await;
        answer.map_err(|_| Error::other("the request could not be served"))
    });
    // A connection that breaks is its client's concern.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(socket), handle).await;
}

/// Waits for the end of the input.
async fn ended() {
    let mut input = tokio::io::stdin();
    let mut byte = [0];
    while input.read(&mut byte).await.is_ok_and(|read| read > 0) {}
}
