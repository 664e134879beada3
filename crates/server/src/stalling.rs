//! A connection that is not read from while its client does not take what it is sent.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// For so long a client may take nothing of what it is sent.
const WRITE_STALL_MAX: Duration = Duration::from_secs(30);

/// Passes on what is read and written. While a write waits, nothing more is read: replies
/// to requests that are sent ahead would else pile up without end.
pub(crate) struct Stalling<S> {
    inner: S,
    /// There while a write waits; it ends when the client has had its time.
    stall: Option<Pin<Box<Sleep>>>,
    /// Who wants to read once the write does not wait any more.
    reader: Option<Waker>,
}

impl<S> Stalling<S> {
    pub(crate) const fn new(inner: S) -> Self {
        Self { inner, stall: None, reader: None }
    }

    /// Passes on how a write went, or breaks the connection off when it waited too long.
    fn written(&mut self, cx: &mut Context<'_>, poll: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if poll.is_ready() {
            self.stall = None;
            if let Some(reader) = self.reader.take() {
                reader.wake();
            }
            return poll;
        }
        let stall = self.stall.get_or_insert_with(|| Box::pin(tokio::time::sleep(WRITE_STALL_MAX)));
        ready!(stall.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes nothing of what it is sent")))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Stalling<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.stall.is_some() {
            self.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Stalling<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.written(cx, poll)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.inner).poll_write_vectored(cx, slices);
        self.written(cx, poll)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex, split};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn nothing_is_read_while_a_write_waits() {
        let (mut client, server) = duplex(64);
        let (mut reader, mut writer) = split(Stalling::new(server));
        client.write_all(b"ahead").await.unwrap();
        let writing = tokio::spawn(async move { writer.write_all(&[b'x'; 100]).await });
        tokio::task::yield_now().await; // It has written what there is room for.
        let mut read = [0; 5];
        let waits = tokio::time::timeout(Duration::from_secs(29), reader.read_exact(&mut read));
        assert!(waits.await.is_err(), "a write waits");
        client.read_exact(&mut [0; 100]).await.unwrap();
        writing.await.unwrap().expect("it was taken in time");
        reader.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"ahead");
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_nothing_for_too_long_is_cut_off() {
        let (_client, server) = duplex(64);
        let started = tokio::time::Instant::now();
        let error = Stalling::new(server).write_all(&[b'x'; 100]).await.unwrap_err();
        assert_eq!((error.kind(), started.elapsed().as_secs()), (io::ErrorKind::TimedOut, 30));
    }
}
