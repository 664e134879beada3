//! Distinct signed events, rendered to request bytes before the clock starts.
//!
//! All requests lie in one buffer: while the server is measured, sending one is a
//! slice and a `write`. Signatures have a fixed width and are written in place, so
//! that the same events are signed anew (tolerance is 300 s) right before each run.

use std::ops::Range;

use gateways::stripe::sample::Life;

use crate::traffic;

/// What the endpoints of a measured server are given as `STRIPE_WEBHOOK_SECRET`.
pub const SECRET: &str = "whsec_bench_5f1c0a7e2b9d4863";
/// The endpoint that answers once an event is stored.
pub const PATH: &str = "/api/webhooks/stripe";

/// `t=` and ten digits, `,v1=` and an HMAC-SHA256 in hex.
const SIGNATURE_LEN: usize = 2 + 10 + 4 + 64;
/// Rough size of a request: what the buffer starts with.
const REQUEST_LEN_TYPICAL: usize = 3_072;

/// Requests by index, with the ids of the events they carry.
pub struct Requests {
    bytes: Vec<u8>,
    spans: Vec<Span>,
    signature_at: usize,
    lives: Vec<Life>,
}

/// Where a request lies in the buffer. Event ids are read from their body.
struct Span {
    start: usize,
    body: usize,
    end: usize,
    id: Range<usize>,
}

impl Requests {
    /// Renders `count` events; the same seed gives the same events at the same
    /// time. Not signed yet: see [`Self::sign`].
    pub fn render(count: usize, seed: u64, now_seconds: i64) -> Self {
        let head = format!(
            "POST {PATH} HTTP/1.1\r\nHost: quittance.test\r\nAccept: */*\r\n\
             User-Agent: Stripe/1.0 (+https://stripe.com/docs/webhooks)\r\n\
             Content-Type: application/json; charset=utf-8\r\nStripe-Signature: "
        );
        let mut requests = Self {
            bytes: Vec::with_capacity(count * REQUEST_LEN_TYPICAL),
            spans: Vec::with_capacity(count),
            signature_at: head.len(),
            lives: Vec::new(),
        };
        requests.lives = traffic::interleaved(count, seed, now_seconds, |id, body| requests.push(&head, id, body));
        requests
    }

    fn push(&mut self, head: &str, id: &str, json: &str) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(head.as_bytes());
        self.bytes.resize(self.bytes.len() + SIGNATURE_LEN, b'0');
        self.bytes.extend_from_slice(format!("\r\nContent-Length: {}\r\n\r\n", json.len()).as_bytes());
        let body = self.bytes.len();
        self.bytes.extend_from_slice(json.as_bytes());
        let end = self.bytes.len();
        let at = json.find(id).expect("a body names its event");
        self.spans.push(Span { start, body, end, id: body + at..body + at + id.len() });
    }

    /// Signs every request as sent at `now_seconds` of Unix time.
    pub fn sign(&mut self, secret: &str, now_seconds: i64) {
        let secret = traffic::secret(secret);
        for span in &self.spans {
            let signature = traffic::signature(&secret, now_seconds, &self.bytes[span.body..span.end]);
            assert_eq!(signature.len(), SIGNATURE_LEN, "signatures have one width until the year 2286");
            let at = span.start + self.signature_at;
            self.bytes[at..at + SIGNATURE_LEN].copy_from_slice(signature.as_bytes());
        }
    }

    pub fn len(&self) -> usize {
        self.spans.len()
    }

    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// A whole request, head and body.
    pub fn bytes(&self, index: u32) -> &[u8] {
        let span = &self.spans[index as usize];
        &self.bytes[span.start..span.end]
    }

    /// The event's JSON.
    pub fn body(&self, index: u32) -> &[u8] {
        let span = &self.spans[index as usize];
        &self.bytes[span.body..span.end]
    }

    pub fn event_id(&self, index: u32) -> &str {
        std::str::from_utf8(&self.bytes[self.spans[index as usize].id.clone()]).expect("an id is ASCII")
    }

    /// The payments whose every event is among these, and what each comes to. Their
    /// `events` are empty: they were rendered.
    pub fn lives(&self) -> &[Life] {
        &self.lives
    }

    /// The mean length of a body in bytes.
    pub fn body_len_mean(&self) -> usize {
        self.spans.iter().map(|span| span.end - span.body).sum::<usize>() / self.len().max(1)
    }
}

impl std::fmt::Debug for Requests {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Requests({} of {} bytes)", self.len(), self.bytes.len())
    }
}

#[cfg(test)]
mod tests {
    use domain::Timestamp;
    use gateways::{Gateway, Verdict};

    use super::*;

    #[test]
    fn a_rendered_request_is_what_the_gateway_would_send() {
        let now_seconds = 1_780_000_000;
        let mut requests = Requests::render(50, 7, now_seconds);
        requests.sign("whsec_other", now_seconds - 1_000);
        requests.sign(SECRET, now_seconds);
        for index in 0..50 {
            let bytes = requests.bytes(index);
            let mut headers = [httparse::EMPTY_HEADER; 16];
            let mut head = httparse::Request::new(&mut headers);
            let body = &bytes[head.parse(bytes).unwrap().unwrap()..];
            assert_eq!((head.method, head.path), (Some("POST"), Some(PATH)));
            let value = |name: &str| head.headers.iter().find(|h| h.name.eq_ignore_ascii_case(name)).unwrap().value;
            assert_eq!(value("content-length"), body.len().to_string().as_bytes());

            let signature = value("stripe-signature").try_into().unwrap();
            let headers = [(http::HeaderName::from_static("stripe-signature"), signature)].into_iter().collect();
            let (secret, now) = (traffic::secret(SECRET), Timestamp::from_seconds(now_seconds));
            assert_eq!(Gateway::Stripe.verify(&headers, body, &[secret], now, 0), Verdict::Valid { secret: 0 });
            assert_eq!(Gateway::Stripe.envelope(&headers, body).unwrap().event_id, requests.event_id(index));
        }
    }
}
