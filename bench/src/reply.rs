//! Reads HTTP/1.1 replies off a byte buffer: the status, and where the reply ends.
//!
//! Only what a keep-alive client without pipelining needs. A reply without
//! `Content-Length` is refused: the servers measured here always send one.

/// More header lines than any reply of ours has.
const HEADERS_MAX: usize = 32;

/// A whole reply at the start of a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply {
    pub status: u16,
    /// Where the body begins.
    pub head_len: usize,
    /// Where the reply ends.
    pub len: usize,
    /// The server will close the connection after it.
    pub closes: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadReply {
    #[error("the reply is not HTTP/1.1: {0}")]
    Malformed(httparse::Error),
    #[error("the reply has no usable Content-Length")]
    NoLength,
}

/// The reply at the start of `bytes`, or `None` while some of it is still to come.
pub fn read(bytes: &[u8]) -> Result<Option<Reply>, BadReply> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut head = httparse::Response::new(&mut headers);
    let head_len = match head.parse(bytes).map_err(BadReply::Malformed)? {
        httparse::Status::Complete(len) => len,
        httparse::Status::Partial => return Ok(None),
    };
    let mut body_len = None;
    let mut closes = head.version == Some(0);
    for header in head.headers.iter() {
        if header.name.eq_ignore_ascii_case("content-length") {
            body_len = std::str::from_utf8(header.value).ok().and_then(|text| text.parse::<usize>().ok());
        } else if header.name.eq_ignore_ascii_case("connection") {
            closes = header.value.eq_ignore_ascii_case(b"close");
        }
    }
    let len = body_len.and_then(|body| head_len.checked_add(body)).ok_or(BadReply::NoLength)?;
    let status = head.code.ok_or(BadReply::NoLength)?;
    Ok((bytes.len() >= len).then_some(Reply { status, head_len, len, closes }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OK: &[u8] =
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 17\r\n\r\n{\"received\":true}";

    #[test]
    fn a_reply_is_complete_at_its_last_byte_and_not_before() {
        for cut in 0..OK.len() {
            assert_eq!(read(&OK[..cut]), Ok(None), "after {cut} bytes");
        }
        let reply = read(OK).unwrap().unwrap();
        assert_eq!((reply.status, reply.len, reply.closes), (200, OK.len(), false));
        assert_eq!(&OK[reply.head_len..reply.len], b"{\"received\":true}");
    }

    #[test]
    fn what_follows_a_reply_is_left_alone() {
        let mut two = OK.to_vec();
        two.extend_from_slice(OK);
        assert_eq!(read(&two).unwrap().unwrap().len, OK.len());
    }

    #[test]
    fn status_length_and_close_are_read_in_any_case() {
        let table: [(&[u8], u16, bool); 4] = [
            (b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n", 503, false),
            (b"HTTP/1.1 400 Bad Request\r\nCONTENT-LENGTH: 0\r\nConnection: Close\r\n\r\n", 400, true),
            (b"HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n", 200, true),
            (b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 0\r\n\r\n", 200, false),
        ];
        for (bytes, status, closes) in table {
            let reply = read(bytes).unwrap().unwrap();
            assert_eq!((reply.status, reply.closes), (status, closes), "{}", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn what_cannot_be_framed_is_refused() {
        assert!(matches!(read(b"SSH-2.0-OpenSSH_9.2\r\n"), Err(BadReply::Malformed(_))));
        for head in ["", "content-length: many\r\n", "content-length: 18446744073709551615\r\n"] {
            let bytes = format!("HTTP/1.1 200 OK\r\n{head}\r\n");
            assert_eq!(read(bytes.as_bytes()), Err(BadReply::NoLength), "{head}");
        }
    }
}
