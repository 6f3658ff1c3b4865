//! A bare proxy on hyper and hyper-util's client, the baseline that large requests are compared with by `tests/bench/proxy.py`.
//!
//! One thread, HTTP/1.1, bodies passed on as they arrive, `mimalloc` as in the real program. It reads nothing, keeps no record
//! and has no limits. `--listen ADDRESS --to ADDRESS`.

#![expect(clippy::unwrap_used, reason = "a benchmark ends where it fails")]

use std::{env, net::SocketAddr};

use http::{Request, Uri, header};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo},
};
use tokio::net::TcpListener;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let (Some(listen), Some(to)) = (argument("--listen"), argument("--to")) else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(proxy(listen, to));
}

/// The address after a name; nothing where there is none, as when Cargo runs every benchmark.
fn argument(name: &str) -> Option<SocketAddr> {
    let mut arguments = env::args().skip_while(|argument| argument != name);
    arguments.nth(1).map(|address| address.parse().unwrap())
}

async fn proxy(listen: SocketAddr, to: SocketAddr) {
    let listener = TcpListener::bind(listen).await.unwrap();
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client: Client<HttpConnector, Incoming> = Client::builder(TokioExecutor::new()).build(connector);
    loop {
        let (socket, _) = listener.accept().await.unwrap();
        socket.set_nodelay(true).unwrap();
        let client = client.clone();
        let pass = service_fn(move |mut request: Request<Incoming>| {
            let path = request.uri().path_and_query().unwrap().as_str();
            *request.uri_mut() = format!("http://{to}{path}").parse::<Uri>().unwrap();
            request.headers_mut().remove(header::HOST);
            client.request(request)
        });
        // Clients leave when the load ends.
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(socket), pass));
    }
}
