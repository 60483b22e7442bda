//! etcd's Go client up to 3.4 sends an endpoint that has a scheme as it is for `:authority`: `http://10.0.0.1:2379`. HTTP
//! knows no such authority, and the HTTP/2 library resets a stream that begins so, with no way to tell it otherwise.
//! Nothing here looks at the authority, so its `://` is replaced in the bytes of the connection's first request, by
//! letters that take as many bits; later requests of the connection refer to that one.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What every HTTP/2 connection begins with (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const FRAME_HEADER: usize = 9;
/// The most that a frame may hold before other settings are agreed.
const FRAME_BYTES: usize = 16_384;
const HEADERS: u8 = 1;
const PADDED: u8 = 0x08;
const PRIORITY: u8 = 0x20;

/// `:authority` in HPACK's static table (RFC 7541, appendix A).
const AUTHORITY: usize = 1;

/// A connection whose first request is read with that leniency.
pub(crate) struct Lenient<S> {
    stream: S,
    expects: Expects,
    /// Read, not passed on yet.
    held: Vec<u8>,
    /// How much of it may be passed on.
    ready: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Expects {
    Preface,
    Frame,
    /// Whatever comes is passed on.
    Anything,
}

impl<S> Lenient<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self { stream, expects: Expects::Preface, held: Vec::new(), ready: 0 }
    }

    /// Looks at what is held, and decides how much of it goes on.
    fn look(&mut self) {
        while let Some(unseen) = self.held.get_mut(self.ready..)
            && let Some((bytes, next)) = self.expects.pass(unseen)
        {
            self.ready += bytes;
            self.expects = next;
            if next == Expects::Anything {
                self.ready = self.held.len();
                return;
            }
        }
    }
}

impl Expects {
    /// How many of the bytes are complete and what comes after them; none if there are too few.
    fn pass(self, bytes: &mut [u8]) -> Option<(usize, Self)> {
        match self {
            Self::Preface if bytes.len() < PREFACE.len() && PREFACE.starts_with(bytes) => None,
            Self::Preface if bytes.starts_with(PREFACE) => Some((PREFACE.len(), Self::Frame)),
            Self::Frame => {
                let [high, middle, low, kind, flags, ..] = *bytes else { return None };
                let length = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
                if length > FRAME_BYTES {
                    return Some((bytes.len(), Self::Anything));
                }
                let payload = bytes.get_mut(FRAME_HEADER..FRAME_HEADER + length)?;
                if kind != HEADERS {
                    return Some((FRAME_HEADER + length, Self::Frame));
                }
                let skipped = usize::from(flags & PADDED != 0) + if flags & PRIORITY == 0 { 0 } else { 5 };
                if let Some(block) = payload.get_mut(skipped..) {
                    mend(block);
                }
                Some((FRAME_HEADER + length, Self::Anything))
            }
            Self::Preface | Self::Anything => Some((bytes.len(), Self::Anything)),
        }
    }
}

/// Replaces the `://` of the first `:authority` in a block of HPACK fields, if it has one.
fn mend(block: &mut [u8]) -> Option<()> {
    let mut at = 0;
    loop {
        let first = *block.get(at)?;
        if first & 0x80 != 0 {
            integer(block, &mut at, 7)?;
        } else if first & 0xe0 == 0x20 {
            integer(block, &mut at, 5)?;
        } else {
            let name = integer(block, &mut at, if first & 0x40 == 0 { 4 } else { 6 })?;
            if name == 0 {
                string(block, &mut at)?;
            }
            let (compressed, value) = string(block, &mut at)?;
            if name == AUTHORITY {
                let value = block.get_mut(value)?;
                if compressed {
                    mend_compressed(value);
                } else {
                    mend_plain(value);
                }
                return Some(());
            }
        }
    }
}

fn mend_plain(value: &mut [u8]) {
    if let Some(scheme) = [4, 5].into_iter().find(|scheme| value.get(*scheme..scheme + 3) == Some(b"://"))
        && let Some(marks) = value.get_mut(scheme..scheme + 3)
    {
        marks.fill(b'-');
    }
}

/// The same in HPACK's code, in which `:` and `B` have 7 bits, `/` and `-` have 6.
fn mend_compressed(value: &mut [u8]) {
    /// The code of `http://` and of `https://`, and the bits before the `:`.
    const SCHEMES: [(u64, usize, usize); 2] = [(0x9d29_aee3_0c00_0000, 41, 22), (0x9d29_ad17_1860_0000, 46, 27)];
    let mut start = [0; 8];
    for (to, from) in start.iter_mut().zip(&*value) {
        *to = *from;
    }
    let start = u64::from_be_bytes(start);
    let Some((.., colon)) = SCHEMES.iter().find(|(code, bits, _)| (start ^ code) >> (64 - bits) == 0) else { return };
    // 1011100 becomes 1011101, and 011000 becomes 010110, twice.
    let change: u64 = (0b000_0001 << 12 | 0b00_1110 << 6 | 0b00_1110) << (64 - colon - 19);
    for (byte, change) in value.iter_mut().zip(change.to_be_bytes()) {
        *byte ^= change;
    }
}

/// An integer with a prefix of so many bits (RFC 7541 §5.1).
fn integer(block: &[u8], at: &mut usize, prefix: u32) -> Option<usize> {
    let mask = (1_usize << prefix) - 1;
    let mut value = usize::from(*block.get(*at)?) & mask;
    *at += 1;
    if value < mask {
        return Some(value);
    }
    for shift in [0, 7, 14] {
        let byte = usize::from(*block.get(*at)?);
        *at += 1;
        value += (byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// Whether a string is compressed, and where it is (RFC 7541 §5.2).
fn string(block: &[u8], at: &mut usize) -> Option<(bool, std::ops::Range<usize>)> {
    let compressed = *block.get(*at)? & 0x80 != 0;
    let length = integer(block, at, 7)?;
    let range = *at..at.checked_add(length)?;
    *at = range.end;
    Some((compressed, range))
}

impl<S: AsyncRead + Unpin> AsyncRead for Lenient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        while this.ready == 0 {
            if this.expects == Expects::Anything {
                return Pin::new(&mut this.stream).poll_read(context, buffer);
            }
            let mut bytes = [0; 1_024];
            let mut read = ReadBuf::new(&mut bytes);
            ready!(Pin::new(&mut this.stream).poll_read(context, &mut read))?;
            this.held.extend_from_slice(read.filled());
            if read.filled().is_empty() {
                (this.expects, this.ready) = (Expects::Anything, this.held.len());
            }
            this.look();
        }
        let bytes = this.ready.min(buffer.remaining());
        buffer.put_slice(this.held.get(..bytes).unwrap_or_default());
        this.held.drain(..bytes);
        this.ready -= bytes;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Lenient<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;

    /// The first fields that etcdctl 3.4.23 sends to `http://127.0.0.1:23790` (`:method`, `:scheme`, `:path`), and their
    /// `:authority`.
    const BEFORE: &str = "8386459760a924882d9dcb6571afa066a925a87510ac6e48d36a3f";
    const URL: &str = "41909d29aee30c044eae05c0b86e09975f07";
    /// `httpB--127.0.0.1:23790`.
    const MENDED: &str = "41909d29aeeacb044eae05c0b86e09975f07";

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<_> = hex.chars().map(|digit| u8::try_from(digit.to_digit(16).unwrap()).unwrap()).collect();
        digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
    }

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![0, 0, u8::try_from(payload.len()).unwrap(), kind, flags, 0, 0, 0, 1];
        frame.extend_from_slice(payload);
        frame
    }

    fn connection(fields: &[u8]) -> Vec<u8> {
        [PREFACE, &frame(4, 0, b""), &frame(HEADERS, 4, fields), &frame(0, 1, b"http://x")].concat()
    }

    async fn read(first: &[u8], then: &[u8]) -> Vec<u8> {
        let mut all = Vec::new();
        Lenient::new(first.chain(then)).read_to_end(&mut all).await.unwrap();
        all
    }

    #[tokio::test]
    async fn an_url_becomes_an_authority_of_the_same_length() {
        let sent = connection(&[bytes(BEFORE), bytes(URL)].concat());
        let mended = connection(&[bytes(BEFORE), bytes(MENDED)].concat());
        for at in 0..=sent.len() {
            let (first, then) = sent.split_at(at);
            assert_eq!(read(first, then).await, mended, "in two parts, the first of {at} bytes");
        }
    }

    #[tokio::test]
    async fn plain_values_and_padding_are_read_too() {
        let url = [b"\x00\x01a\x01b\x01\x12".as_slice(), b"https://[2001::]:1"].concat();
        let padded = [b"\x02".as_slice(), &[0; 5], &url, &[0; 2]].concat();
        let sent = [PREFACE, &frame(HEADERS, PADDED | PRIORITY, &padded)].concat();
        let at = sent.windows(3).position(|window| window == b"://").unwrap();
        let mut mended = sent.clone();
        mended[at..at + 3].copy_from_slice(b"---");
        assert_eq!(read(&sent, b"").await, mended);
    }

    #[tokio::test]
    async fn everything_else_passes_as_it_is() {
        let good = connection(&[bytes(BEFORE), b"\x41\x0blocalhost:1".to_vec()].concat());
        let cut = connection(&bytes(BEFORE));
        let endless = connection(b"\x41\xff\xff\xff\xff\xff");
        let large = [PREFACE, &[0xff; 40]].concat();
        let http1 = b"POST http://x/ HTTP/1.1\r\n\r\n".to_vec();
        for sent in [good, cut, endless, large, http1, b"PRI".to_vec(), Vec::new()] {
            assert_eq!(read(&sent, b"").await, sent);
        }
    }

    #[test]
    fn the_longer_scheme_has_its_own_place() {
        let mut value = bytes("9d29ad171863ffff");
        mend_compressed(&mut value);
        assert_eq!(value, bytes("9d29ad17565bffff"));
    }
}
