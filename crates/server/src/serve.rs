//! Connections: accepted, served over HTTP/1.1, and drained.

use std::collections::HashMap;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::client_address::Peer;
use crate::endpoint::InForce;
use crate::limits::sender;
use crate::stalling::Stalling;

/// How long a client may take for a request's head, and may idle between two.
const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(10);
/// How long requests under way may go on after the order to stop.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(15);
/// A request's head, and what is read at a time.
const READ_BYTES_MAX: usize = 16 * 1024;
/// Connections at once unless configured; more wait to be accepted.
pub const CONNECTIONS_MAX: usize = 8192;
/// Connections of one address at once unless configured.
pub const CONNECTIONS_OF_AN_ADDRESS_MAX: usize = 1024;
/// Pause when no more connections can be opened.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How many connections there may be.
#[derive(Clone, Debug)]
pub struct Connections {
    /// Over all addresses; more wait to be accepted.
    pub max: usize,
    /// Of one address; more are closed. This machine and trusted proxies, which speak
    /// for many, are exempt.
    pub of_an_address_max: usize,
    /// Says which proxies are trusted.
    pub in_force: Arc<InForce>,
}

impl Default for Connections {
    fn default() -> Self {
        Self { max: CONNECTIONS_MAX, of_an_address_max: CONNECTIONS_OF_AN_ADDRESS_MAX, in_force: Arc::default() }
    }
}

/// Serves until `shutdown` resolves; then accepts no more connections, finishes the
/// requests under way and returns.
pub async fn run(listener: TcpListener, router: Router, connections: Connections, shutdown: impl Future<Output = ()>) {
    let graceful = GracefulShutdown::new();
    let mut shutdown = pin!(shutdown);
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEADER_READ_TIMEOUT);
    http.max_buf_size(READ_BYTES_MAX);
    let (cut_off, end) = watch::channel(false);
    let places = Places::new(connections);
    loop {
        let place = tokio::select! {
            place = places.wait() => place,
            () = &mut shutdown => break,
        };
        let (stream, address) = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, address)) => (stream, address.ip()),
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
            () = &mut shutdown => break,
        };
        let Some(place) = places.take(place, address) else { continue };
        let service = FromPeer { peer: Peer(address), inner: TowerToHyperService::new(router.clone()) };
        let connection = graceful.watch(http.serve_connection(io(stream), service));
        let mut end = end.clone();
        tokio::spawn(async move {
            let _place = place;
            tokio::select! {
                ended = connection => if let Err(error) = ended {
                    tracing::debug!(%error, "a connection broke");
                },
                _ = end.wait_for(|cut_off| *cut_off) => {}
            }
        });
    }
    drop(listener);
    if tokio::time::timeout(DRAIN_TIMEOUT, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests were still under way after {} s and are cut off", DRAIN_TIMEOUT.as_secs());
        cut_off.send_replace(true);
    }
}

fn io(stream: TcpStream) -> TokioIo<Stalling<TcpStream>> {
    let _ = stream.set_nodelay(true); // Without it replies are late, not wrong.
    TokioIo::new(Stalling::new(stream))
}

/// Tells each request where its connection comes from.
#[derive(Clone, Debug)]
struct FromPeer<S> {
    peer: Peer,
    inner: S,
}

impl<S: Service<hyper::Request<Incoming>>> Service<hyper::Request<Incoming>> for FromPeer<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn call(&self, mut request: hyper::Request<Incoming>) -> Self::Future {
        request.extensions_mut().insert(self.peer);
        self.inner.call(request)
    }
}

/// Room for connections, all in all and by address.
struct Places {
    connections: Connections,
    free: Arc<Semaphore>,
    by_address: Arc<ByAddress>,
}

/// How many connections each address has. An address without any is not in it.
#[derive(Default)]
struct ByAddress(Mutex<HashMap<IpAddr, usize>>);

impl ByAddress {
    fn counts(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One connection's room, given back when dropped.
struct Place {
    _one: OwnedSemaphorePermit,
    counted: Option<(IpAddr, Arc<ByAddress>)>,
}

impl Places {
    fn new(connections: Connections) -> Self {
        let free = Arc::new(Semaphore::new(connections.max.min(Semaphore::MAX_PERMITS)));
        Self { connections, free, by_address: Arc::default() }
    }

    /// Waits for room for one more.
    async fn wait(&self) -> Option<OwnedSemaphorePermit> {
        self.free.clone().acquire_owned().await.ok() // It is never closed.
    }

    /// `None` where the address has as many as it may.
    fn take(&self, one: Option<OwnedSemaphorePermit>, address: IpAddr) -> Option<Place> {
        let one = one?;
        if address.to_canonical().is_loopback() || self.connections.in_force.get().proxies.trusts(address) {
            return Some(Place { _one: one, counted: None });
        }
        let address = sender(address);
        let mut counts = self.by_address.counts();
        let count = counts.entry(address).or_default();
        if *count >= self.connections.of_an_address_max {
            tracing::debug!(%address, "A connection is refused: the address has as many as it may");
            return None;
        }
        *count += 1;
        Some(Place { _one: one, counted: Some((address, self.by_address.clone())) })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some((address, by_address)) = self.counted.take() else { return };
        let mut counts = by_address.counts();
        if let Some(count) = counts.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use ipnet::IpNet;

    use super::*;
    use crate::Endpoints;
    use crate::client_address::{ForwardedHeader, Proxies};

    #[tokio::test]
    async fn an_address_has_its_share_and_gives_it_back() {
        let trusted: IpNet = "192.0.2.9/32".parse().unwrap();
        let endpoints = Endpoints::default().behind(Proxies::new(vec![trusted], ForwardedHeader::default()));
        let in_force = Arc::new(InForce::new(endpoints));
        let places = Places::new(Connections { max: 8, of_an_address_max: 2, in_force });
        let (one, other) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        let mut held = Vec::new();
        for (address, fits) in [(one, true), (one, true), (one, false), (other, true)] {
            let place = places.take(places.wait().await, address);
            assert_eq!(place.is_some(), fits, "{address}");
            held.extend(place);
        }
        held.remove(0);
        held.extend(places.take(places.wait().await, one));
        assert_eq!((held.len(), places.by_address.counts().len()), (3, 2));
        for exempt in [IpAddr::from(Ipv4Addr::LOCALHOST), trusted.addr()] {
            held.extend(
                (0..2).map(|_| places.free.clone().try_acquire_owned().ok()).filter_map(|one| places.take(one, exempt)),
            );
        }
        assert_eq!(held.len(), 7);
        held.clear();
        assert_eq!((places.by_address.counts().len(), places.free.available_permits()), (0, 8));
    }
}
