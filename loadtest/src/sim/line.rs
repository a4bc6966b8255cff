//! The line to a caller: one that can be ended by a reset instead of an orderly close, and that can
//! be thin.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::Sleep,
};

/// A thin line passes so many pieces a second: packets that trickle, and not one a second.
const PIECES_PER_SECOND: u32 = 10;

/// The largest piece.
const PIECE: usize = 1_024;

/// What is wrong with a line; may change while it is used.
#[derive(Debug, Default)]
pub(super) struct Condition {
    reset: AtomicBool,
    /// 0: as fast as it can.
    bytes_per_second: AtomicU32,
}

impl Condition {
    /// When it is closed, the caller sees a TCP reset.
    pub(super) fn end_with_a_reset(&self) {
        self.reset.store(true, Ordering::Relaxed);
    }

    /// From now on it passes so many bytes a second in each direction.
    pub(super) fn pace(&self, bytes_per_second: Option<u32>) {
        let bytes = bytes_per_second.map_or(0, |bytes| bytes.max(1));
        self.bytes_per_second.store(bytes, Ordering::Relaxed);
    }

    /// The size of a piece and the time that it takes; `None`: nothing is cut up.
    fn piece(&self) -> Option<(usize, Duration)> {
        let rate = self.bytes_per_second.load(Ordering::Relaxed);
        if rate == 0 {
            return None;
        }
        let piece = ((rate / PIECES_PER_SECOND).max(1) as usize).min(PIECE);
        let takes = Duration::from_secs_f64(piece as f64 / f64::from(rate));
        Some((piece, takes))
    }
}

/// One direction of a thin line: busy with the last piece, or free.
#[derive(Debug, Default)]
struct Direction(Option<Pin<Box<Sleep>>>);

impl Direction {
    fn poll_free(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if let Some(busy) = &mut self.0 {
            ready!(busy.as_mut().poll(context));
            self.0 = None;
        }
        Poll::Ready(())
    }

    fn is_busy_for(&mut self, time: Duration) {
        self.0 = Some(Box::pin(tokio::time::sleep(time)));
    }
}

/// A connection in some condition.
pub(super) struct Line {
    stream: TcpStream,
    condition: Arc<Condition>,
    reading: Direction,
    writing: Direction,
}

impl Line {
    pub(super) fn new(stream: TcpStream, condition: Arc<Condition>) -> Self {
        Self {
            stream,
            condition,
            reading: Direction::default(),
            writing: Direction::default(),
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if self.condition.reset.load(Ordering::Relaxed) {
            let _ = self.stream.set_zero_linger();
        }
    }
}

impl AsyncRead for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Some((piece, takes)) = self.condition.piece() else {
            return Pin::new(&mut self.stream).poll_read(context, buffer);
        };
        ready!(self.reading.poll_free(context));
        let mut bytes = [0; PIECE];
        let mut small = ReadBuf::new(&mut bytes[..piece.min(buffer.remaining())]);
        ready!(Pin::new(&mut self.stream).poll_read(context, &mut small))?;
        if !small.filled().is_empty() {
            self.reading.is_busy_for(takes);
        }
        buffer.put_slice(small.filled());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Line {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let Some((piece, takes)) = self.condition.piece() else {
            return Pin::new(&mut self.stream).poll_write(context, bytes);
        };
        ready!(self.writing.poll_free(context));
        let piece = &bytes[..piece.min(bytes.len())];
        let written = ready!(Pin::new(&mut self.stream).poll_write(context, piece))?;
        self.writing.is_busy_for(takes);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.condition.reset.load(Ordering::Relaxed) {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.condition.piece().is_none() {
            return Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        }
        let first = slices.iter().find(|slice| !slice.is_empty());
        self.poll_write(context, first.map_or(&[], |slice| slice))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use tokio::time::Instant;

    use super::*;

    /// Half a second's worth each way takes half a second each way.
    #[tokio::test]
    async fn a_thin_line_passes_so_many_bytes_a_second_in_each_direction() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let address = listener.local_addr().expect("bound");
        let mut caller = TcpStream::connect(address).await.expect("connects");
        let (stream, _) = listener.accept().await.expect("accepts");
        let condition = Arc::<Condition>::default();
        condition.pace(Some(1_000));
        let mut line = Line::new(stream, condition);
        caller.write_all(&[7; 500]).await.expect("writes");
        let start = Instant::now();
        let mut read = [0; 500];
        line.read_exact(&mut read).await.expect("reads");
        let reading = start.elapsed();
        assert!(reading >= Duration::from_millis(390), "{reading:?}");
        line.write_all(&read).await.expect("writes");
        caller.read_exact(&mut read).await.expect("reads");
        let both = start.elapsed();
        assert!(both >= Duration::from_millis(780), "{both:?}");
        assert_eq!(read, [7; 500]);
    }
}
