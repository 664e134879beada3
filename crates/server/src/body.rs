//! Bodies on their way in. What they take is counted before their sender is known, over
//! all senders together, so that nobody fills the memory from outside; and where it
//! runs out, it is taken from who has been longest about it, so that nobody who is slow
//! keeps out who is not.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_LENGTH, EXPECT};
use bytes::BytesMut;
use http_body_util::BodyExt;
use tokio::sync::oneshot;

use crate::refusal::Refusal;

/// How long a sender may take for its body.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of bodies that may be on their way in, over all senders together.
pub(crate) const BODIES_BYTES_MAX: usize = 64 * 1024 * 1024;
/// What is read and thrown away of a body that is refused unread: a sender that is cut
/// off while it still writes does not get to see why.
const DRAIN_BYTES_MAX: usize = 8 * 1024 * 1024;
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// What is left for bodies.
#[derive(Debug)]
pub(crate) struct BodyMemory {
    used: AtomicUsize,
    bytes_max: usize,
    /// Those that had to be waited for, the longest first. A body that came in one
    /// piece with its head is never among them.
    waited_for: Mutex<BTreeMap<u64, WaitedFor>>,
    next: AtomicU64,
}

#[derive(Debug)]
struct WaitedFor {
    bytes: usize,
    give_up: oneshot::Sender<()>,
}

impl BodyMemory {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { used: AtomicUsize::new(0), bytes_max, waited_for: Mutex::default(), next: AtomicU64::new(0) }
    }

    fn waited_for(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, WaitedFor>> {
        self.waited_for.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes room for `bytes` by ending bodies that have been waited for longest. They
    /// give back what they hold as soon as they run.
    fn end_the_slowest(&self, bytes: usize) -> bool {
        let mut freed = 0;
        while freed < bytes {
            let Some((_, slowest)) = self.waited_for().pop_first() else { return false };
            freed += slowest.bytes;
            let _ = slowest.give_up.send(()); // It may have ended by itself.
        }
        true
    }
}

/// One body's share of the memory, given back when dropped.
#[derive(Debug)]
struct Share {
    memory: Arc<BodyMemory>,
    bytes: usize,
    number: Option<u64>,
}

impl Share {
    const fn of(memory: Arc<BodyMemory>) -> Self {
        Self { memory, bytes: 0, number: None }
    }

    fn grow(&mut self, bytes: usize) -> Result<(), Refusal> {
        self.bytes += bytes;
        let used = self.memory.used.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if let Some(number) = self.number
            && let Some(own) = self.memory.waited_for().get_mut(&number)
        {
            own.bytes = self.bytes;
        }
        if used > self.memory.bytes_max && !self.memory.end_the_slowest(bytes) {
            return Err(Refusal::Crowded);
        }
        Ok(())
    }

    /// From now on it is among those that are ended when the memory runs out.
    fn wait(&mut self) -> oneshot::Receiver<()> {
        let (give_up, given_up) = oneshot::channel();
        let number = self.memory.next.fetch_add(1, Ordering::Relaxed);
        self.number = Some(number);
        self.memory.waited_for().insert(number, WaitedFor { bytes: self.bytes, give_up });
        given_up
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.arrived();
        self.memory.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Share {
    /// What has arrived is not ended for another's sake.
    fn arrived(&mut self) {
        if let Some(number) = self.number.take() {
            self.memory.waited_for().remove(&number);
        }
    }
}

/// A whole body. Its share of the memory is held as long as it is.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) bytes: Bytes,
    _share: Share,
}

/// Whether the sender says that its body is larger than this.
pub(crate) fn announces_more_than(headers: &HeaderMap, bytes_max: usize) -> bool {
    let announced = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    announced.is_some_and(|bytes| bytes > bytes_max)
}

/// Reads the body while it arrives.
pub(crate) async fn read(memory: &Arc<BodyMemory>, body: &mut Body, bytes_max: usize) -> Result<Received, Refusal> {
    let reading = gather(Share::of(memory.clone()), body, bytes_max);
    tokio::time::timeout(BODY_TIMEOUT, reading).await.map_err(|_| Refusal::SlowBody)?
}

async fn gather(mut share: Share, body: &mut Body, bytes_max: usize) -> Result<Received, Refusal> {
    let (mut whole, mut rest) = (Bytes::new(), BytesMut::new());
    let mut given_up: Option<oneshot::Receiver<()>> = None;
    while let Some(frame) = next_frame(body, &mut share, &mut given_up).await? {
        if share.bytes + frame.len() > bytes_max {
            return Err(Refusal::TooLarge);
        }
        share.grow(frame.len())?;
        if whole.is_empty() && rest.is_empty() {
            whole = frame; // Most bodies come in one piece, which is not copied.
        } else {
            if rest.is_empty() {
                rest.extend_from_slice(&whole);
            }
            rest.extend_from_slice(&frame);
        }
    }
    share.arrived();
    Ok(Received { bytes: if rest.is_empty() { whole } else { rest.freeze() }, _share: share })
}

/// The next piece, nothing at the end. Only who has to be waited for can be given up.
async fn next_frame(
    body: &mut Body,
    share: &mut Share,
    given_up: &mut Option<oneshot::Receiver<()>>,
) -> Result<Option<Bytes>, Refusal> {
    loop {
        let mut next = pin!(body.frame());
        let at_once = std::future::poll_fn(|context| Poll::Ready(next.as_mut().poll(context))).await;
        let frame = match at_once {
            Poll::Ready(frame) => frame,
            Poll::Pending => {
                let given_up = given_up.get_or_insert_with(|| share.wait());
                tokio::select! {
                    frame = next => frame,
                    _ = given_up => return Err(Refusal::Crowded),
                }
            }
        };
        match frame.transpose().map_err(|_| Refusal::BrokenBody)? {
            None => return Ok(None),
            Some(frame) => match frame.into_data() {
                Ok(data) if !data.is_empty() => return Ok(Some(data)),
                Ok(_) | Err(_) => {} // Trailers.
            },
        }
    }
}

/// Reads on, without keeping anything, what is refused before it was read.
pub(crate) fn drain(headers: &HeaderMap, mut body: Body) {
    // Who asked whether to go on is told by the answer.
    if body.is_end_stream() || headers.contains_key(EXPECT) {
        return;
    }
    let reading = async move {
        let mut read = 0;
        while read < DRAIN_BYTES_MAX {
            let Some(Ok(frame)) = body.frame().await else { return };
            read += frame.data_ref().map_or(0, Bytes::len);
        }
    };
    tokio::spawn(tokio::time::timeout(DRAIN_TIMEOUT, reading));
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::pin::Pin;
    use std::task::{Context, Waker};

    use hyper::body::Frame;
    use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

    use super::*;

    /// A body whose pieces are sent one by one.
    struct Pieces(UnboundedReceiver<Bytes>);

    impl HttpBody for Pieces {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            self.0.poll_recv(context).map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
        }
    }

    fn body() -> (UnboundedSender<Bytes>, Body) {
        let (pieces, inbox) = unbounded_channel();
        (pieces, Body::new(Pieces(inbox)))
    }

    fn piece(bytes: usize) -> Bytes {
        Bytes::from(vec![b'x'; bytes])
    }

    type Reading = Pin<Box<dyn Future<Output = Result<Received, Refusal>>>>;

    fn reading(memory: &Arc<BodyMemory>, mut body: Body) -> Reading {
        let memory = memory.clone();
        Box::pin(async move { read(&memory, &mut body, 1000).await })
    }

    /// One look at it.
    fn poll(reading: &mut Reading) -> Option<Result<Received, Refusal>> {
        match reading.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(done) => Some(done),
            Poll::Pending => None,
        }
    }

    #[tokio::test]
    async fn those_who_are_slowest_give_way() {
        let memory = Arc::new(BodyMemory::new(100));
        let mut slow = Vec::new();
        for _ in 0..10 {
            let (pieces, body) = body();
            pieces.send(piece(10)).unwrap();
            let mut reading = reading(&memory, body);
            assert!(poll(&mut reading).is_none());
            slow.push((pieces, reading));
        }
        let quick = reading(&memory, Body::from(piece(25))).await.expect("there is room for who is quick");
        let given_up: Vec<bool> =
            slow.iter_mut().map(|(_, reading)| matches!(poll(reading), Some(Err(Refusal::Crowded)))).collect();
        assert_eq!(given_up, [true, true, true, false, false, false, false, false, false, false]);
        for (pieces, mut reading) in slow.drain(3..) {
            drop(pieces);
            assert_eq!(poll(&mut reading).expect("it ends").expect("it is whole").bytes.len(), 10);
        }
        drop((quick, slow));
        assert_eq!(memory.used.load(Ordering::SeqCst), 0);
        assert!(memory.waited_for().is_empty());
    }

    #[tokio::test]
    async fn what_has_arrived_is_not_taken_away() {
        let memory = Arc::new(BodyMemory::new(100));
        let whole = reading(&memory, Body::from(piece(95))).await.expect("there is room");
        let refused = reading(&memory, Body::from(piece(10))).await;
        assert!(matches!(refused, Err(Refusal::Crowded)), "{refused:?}");
        drop(whole);
        reading(&memory, Body::from(piece(10))).await.expect("there is room again");
        assert_eq!(memory.used.load(Ordering::SeqCst), 0);
    }

    #[tokio::test]
    async fn a_body_in_pieces_is_whole() {
        let memory = Arc::new(BodyMemory::new(1000));
        let (pieces, body) = body();
        let mut reading = reading(&memory, body);
        for text in ["a", "", "bc", "d"] {
            pieces.send(Bytes::from_static(text.as_bytes())).unwrap();
            assert!(poll(&mut reading).is_none());
        }
        drop(pieces);
        assert_eq!(poll(&mut reading).expect("it ends").expect("it is whole").bytes, "abcd");
    }
}
