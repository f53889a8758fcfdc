//! What the write traits of tokio, hyper and futures-io have in common.

/// Implements one of them for the write half and for the whole stream: its name, what it calls the end of the write side, and what it has besides.
macro_rules! write_trait {
    ($name:ident, $end:ident, { $($besides:tt)* }) => {
        write_trait!(@ $name, $end, WriteHalf, |half| half, { $($besides)* });
        write_trait!(@ $name, $end, ByteStream, |stream| stream.write, { $($besides)* });
    };
    (@ $name:ident, $end:ident, $of:ty, |$this:ident| $half:expr, { $($besides:tt)* }) => {
        impl $name for $of {
            fn poll_write(
                self: Pin<&mut Self>,
                context: &mut Context<'_>,
                bytes: &[u8],
            ) -> Poll<io::Result<usize>> {
                let $this = self.get_mut();
                $half.poll_write(context, bytes)
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                context: &mut Context<'_>,
                pieces: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                let $this = self.get_mut();
                $half.poll_write_pieces(context, pieces)
            }

            fn poll_flush(
                self: Pin<&mut Self>,
                context: &mut Context<'_>,
            ) -> Poll<io::Result<()>> {
                let $this = self.get_mut();
                $half.poll_flush(context)
            }

            fn $end(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
                let $this = self.get_mut();
                $half.poll_shutdown(context)
            }

            $($besides)*
        }
    };
}

pub(super) use write_trait;
