//! Connections: over real sockets, to the end.

use std::net::SocketAddr;
use std::time::Duration;

use gateways::stripe::sign;
use server::serve::Connections;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::it::app::{HOOK, NOW, TestApp, secret, unrelated};

const DEADLINE: Duration = Duration::from_secs(20);

struct Served {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    ended: JoinHandle<()>,
}

impl Served {
    async fn start(app: &TestApp) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let shutdown = async {
            let _ = stopped.await; // Dropped or sent: both say stop.
        };
        let router = app.router.clone();
        let ended =
            tokio::spawn(async move { server::serve::run(listener, router, Connections::default(), shutdown).await });
        Self { address, stop: Some(stop), ended }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("it accepts")
    }

    fn order_to_stop(&mut self) {
        self.stop.take().expect("once").send(()).expect("it listens");
    }

    async fn ended(self) {
        tokio::time::timeout(DEADLINE, self.ended).await.expect("it ends in time").expect("it does not panic");
    }
}

/// A signed delivery, cut into its head and its body.
fn delivery(event_id: &str) -> (String, String) {
    let body = unrelated(event_id);
    let signature = sign(&secret("whsec_test"), NOW, body.as_bytes());
    let head = format!(
        "POST {HOOK} HTTP/1.1\r\nHost: localhost\r\nStripe-Signature: {signature}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    (head, body)
}

/// Reads one reply with a body of a known length.
async fn reply(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    let reading = async {
        loop {
            let seen = String::from_utf8_lossy(&text).into_owned();
            if let Some((head, body)) = seen.split_once("\r\n\r\n") {
                let lower = head.to_lowercase();
                let length = lower.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()?.parse().ok());
                if body.len() >= length.unwrap_or(0) {
                    return seen;
                }
            }
            assert!(stream.read_buf(&mut text).await.expect("it reads") > 0, "cut off: {seen}");
        }
    };
    tokio::time::timeout(DEADLINE, reading).await.expect("a reply in time")
}

async fn is_closed(stream: &mut TcpStream) {
    let read = tokio::time::timeout(DEADLINE, stream.read(&mut [0; 1])).await.expect("closed in time");
    assert!(matches!(read, Ok(0) | Err(_)), "more came: {read:?}");
}

#[tokio::test]
async fn one_connection_carries_many_deliveries() {
    let app = TestApp::new().await;
    let mut served = Served::start(&app).await;
    let mut stream = served.connect().await;
    for number in 0..5 {
        let (head, body) = delivery(&format!("evt_{number}"));
        stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
        let reply = reply(&mut stream).await;
        assert!(reply.starts_with("HTTP/1.1 200") && reply.contains(&format!("evt_{number}")), "{reply}");
    }
    let pipelined: String =
        (5..8).map(|number| delivery(&format!("evt_{number}"))).map(|(head, body)| head + &body).collect();
    stream.write_all(pipelined.as_bytes()).await.unwrap();
    app.settled().await;
    served.order_to_stop();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).await.unwrap();
    served.ended().await;
    app.finish().await;
}

#[tokio::test]
async fn a_request_under_way_is_finished_and_no_new_one_is_taken() {
    let app = TestApp::new().await;
    let mut served = Served::start(&app).await;
    let mut idle = served.connect().await;
    let (head, body) = delivery("evt_idle");
    idle.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    reply(&mut idle).await;

    let mut under_way = served.connect().await;
    let (head, body) = delivery("evt_under_way");
    let head = head.replace("\r\n\r\n", "\r\nExpect: 100-continue\r\n\r\n");
    under_way.write_all(head.as_bytes()).await.unwrap();
    let go_on = reply(&mut under_way).await;
    assert!(go_on.starts_with("HTTP/1.1 100"), "its handler waits for the body: {go_on}");

    served.order_to_stop();
    is_closed(&mut idle).await; // So the order has arrived.
    assert!(TcpStream::connect(served.address).await.is_err(), "nobody listens any more");
    under_way.write_all(body.as_bytes()).await.unwrap();
    let reply = reply(&mut under_way).await;
    assert!(reply.starts_with("HTTP/1.1 200") && reply.contains("accepted"), "{reply}");
    is_closed(&mut under_way).await;
    served.ended().await;
    app.finish().await;
}

#[tokio::test]
async fn a_slow_sender_holds_up_nobody() {
    let app = TestApp::new().await;
    let mut served = Served::start(&app).await;
    let mut slow = Vec::new();
    for number in 0..100 {
        let mut stream = served.connect().await;
        let (head, body) = delivery(&format!("evt_slow_{number}"));
        let cut = if number % 2 == 0 { head.len() / 2 } else { head.len() + body.len() / 2 };
        stream.write_all(&format!("{head}{body}").as_bytes()[..cut]).await.unwrap();
        slow.push((stream, format!("{head}{body}")[cut..].to_owned()));
    }
    let mut quick = served.connect().await;
    let (head, body) = delivery("evt_quick");
    quick.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    assert!(reply(&mut quick).await.contains("accepted"));
    for (stream, rest) in &mut slow {
        stream.write_all(rest.as_bytes()).await.unwrap();
        assert!(reply(stream).await.contains("accepted"), "slow, but in time");
    }
    drop((slow, quick));
    served.order_to_stop();
    served.ended().await;
    app.finish().await;
}

#[tokio::test]
async fn a_body_in_chunks_has_the_same_limit() {
    let app = TestApp::new().await;
    let mut served = Served::start(&app).await;
    let mut stream = served.connect().await;
    let head = format!(
        "POST {HOOK} HTTP/1.1\r\nHost: localhost\r\nStripe-Signature: t=1\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
    for _ in 0..17 {
        if stream.write_all(chunk.as_bytes()).await.is_err() {
            break; // It has had enough.
        }
    }
    let refused = reply(&mut stream).await;
    assert!(refused.starts_with("HTTP/1.1 413"), "{refused}");
    served.order_to_stop();
    drop(stream);
    served.ended().await;
    app.finish().await;
}

#[tokio::test]
async fn what_is_no_http_harms_nobody() {
    let app = TestApp::new().await;
    let mut served = Served::start(&app).await;
    for nonsense in ["\x16\x03\x01\x02\0", "GET\r\n\r\n", "POST / HTTP/9.9\r\n\r\n", "\r\n\r\n\r\n"] {
        let mut stream = served.connect().await;
        stream.write_all(nonsense.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        let _ = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut answer)).await.expect("it is closed");
    }
    let mut stream = served.connect().await;
    let (head, body) = delivery("evt_after");
    stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    assert!(reply(&mut stream).await.contains("accepted"));
    drop(stream);
    served.order_to_stop();
    served.ended().await;
    app.finish().await;
}

/// Time stands still but for those who wait for it.
#[tokio::test]
async fn who_is_too_slow_is_cut_off() {
    let app = TestApp::new().await;
    let mut served = Served::start(&app).await;
    let (head, body) = delivery("evt_slow");
    let (mut half_a_head, mut half_a_body) = (served.connect().await, served.connect().await);
    half_a_head.write_all(&head.as_bytes()[..head.len() / 2]).await.unwrap();
    let asking = head.replace("\r\n\r\n", "\r\nExpect: 100-continue\r\n\r\n");
    half_a_body.write_all(asking.as_bytes()).await.unwrap();
    assert!(reply(&mut half_a_body).await.starts_with("HTTP/1.1 100"), "its handler waits for the body");
    half_a_body.write_all(&body.as_bytes()[..body.len() / 2]).await.unwrap();
    tokio::time::pause();
    let mut refused = String::new();
    half_a_body.read_to_string(&mut refused).await.unwrap();
    assert!(refused.starts_with("HTTP/1.1 408"), "{refused}");
    let mut rest = Vec::new();
    let _ = half_a_head.read_to_end(&mut rest).await; // Closed politely or not, it is closed.
    tokio::time::resume();
    served.order_to_stop();
    served.ended().await;
    app.finish().await;
}

/// Strangers who send a byte less than they said fill the memory for bodies; those who
/// deliver what they said are taken all the same.
#[tokio::test]
async fn bodies_that_do_not_end_hold_up_nobody() {
    const STRANGERS: usize = 70;
    const BODY_BYTES: usize = 1024 * 1024;
    let app = TestApp::new().await;
    let mut served = Served::start(&app).await;
    let head = format!(
        "POST {HOOK} HTTP/1.1\r\nHost: localhost\r\nStripe-Signature: t=1,v1=00\r\nContent-Length: {BODY_BYTES}\r\n\r\n"
    );
    let mut strangers = Vec::new();
    for number in 0..STRANGERS {
        let mut stranger = served.connect().await;
        stranger.write_all(head.as_bytes()).await.unwrap();
        stranger.write_all(&vec![b'x'; BODY_BYTES - 1]).await.unwrap();
        strangers.push(stranger);
        let mut honest = served.connect().await;
        let (head, body) = delivery(&format!("evt_{number}"));
        honest.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
        assert!(reply(&mut honest).await.contains("accepted"), "beside {number}");
    }
    let given_up = reply(&mut strangers[0]).await;
    assert!(given_up.starts_with("HTTP/1.1 503") && given_up.to_lowercase().contains("retry-after: "), "{given_up}");
    drop(strangers);
    served.order_to_stop();
    served.ended().await;
    app.finish().await;
}

/// Who is refused before its body was read still gets to see why.
#[tokio::test]
async fn a_refusal_reaches_who_is_still_sending() {
    let app = TestApp::new().await;
    let mut served = Served::start(&app).await;
    for (header, size, status) in
        [("X-Other: 1", 900_000, 400), ("Stripe-Signature: t=1", 3_000_000, 413), ("X-Other: 1", 3_000_000, 413)]
    {
        let mut stream = served.connect().await;
        let head = format!("POST {HOOK} HTTP/1.1\r\nHost: localhost\r\n{header}\r\nContent-Length: {size}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&vec![b'x'; size]).await.expect("it reads on");
        let refused = reply(&mut stream).await;
        assert!(refused.starts_with(&format!("HTTP/1.1 {status}")), "{refused}");
        let (head, body) = delivery(&format!("evt_after_{header}_{size}").replace([':', ' ', '=', '-'], "_"));
        stream.write_all(format!("{head}{body}").as_bytes()).await.expect("the connection goes on");
        assert!(reply(&mut stream).await.contains("accepted"));
    }
    served.order_to_stop();
    served.ended().await;
    app.finish().await;
}

/// Who sends requests ahead and takes no reply is not read from any more, whether replies
/// have bodies or not.
#[tokio::test]
async fn who_reads_nothing_is_not_read_from() {
    const SENT_MAX: usize = 16 * 1024 * 1024;
    const STALLED: Duration = Duration::from_secs(1);
    let app = TestApp::new().await;
    let mut served = Served::start(&app).await;
    for path in ["/healthz", "/nothing"] {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let mut stream = socket.connect(served.address).await.unwrap();
        let requests = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").repeat(1000);
        let mut sent = 0;
        while sent < SENT_MAX {
            let writing = tokio::time::timeout(STALLED, stream.write_all(requests.as_bytes()));
            if writing.await.is_err() {
                break;
            }
            sent += requests.len();
        }
        assert!(sent < SENT_MAX, "{path}: all of it was read");
        let mut after = served.connect().await;
        let (head, body) = delivery(&path.replace('/', "evt_after_"));
        after.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
        assert!(reply(&mut after).await.contains("accepted"));
    }
    served.order_to_stop();
    served.ended().await;
    app.finish().await;
}

/// Every request that was sent ahead has its reply, however late it is taken.
#[tokio::test]
async fn who_reads_late_gets_every_reply() {
    const REQUESTS: usize = 20_000;
    let app = TestApp::new().await;
    let mut served = Served::start(&app).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let (mut replies, mut requests) = socket.connect(served.address).await.unwrap().into_split();
    let asking = tokio::spawn(async move {
        let most = "GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(REQUESTS - 1);
        let last = "GET /nothing HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        requests.write_all(format!("{most}{last}").as_bytes()).await.expect("all are taken in the end");
        requests
    });
    let mut text = String::new();
    tokio::time::timeout(DEADLINE, replies.read_to_string(&mut text)).await.expect("in time").expect("to the end");
    assert_eq!(text.matches("HTTP/1.1 404").count(), REQUESTS);
    drop(asking.await.unwrap());
    served.order_to_stop();
    served.ended().await;
    app.finish().await;
}

/// A head has 16 KiB.
#[tokio::test]
async fn a_head_has_its_limit() {
    let app = TestApp::new().await;
    let mut served = Served::start(&app).await;
    for (padding, status) in [(15_000, 200), (17_000, 431)] {
        let mut stream = served.connect().await;
        let (head, body) = delivery(&format!("evt_{padding}"));
        let head = head.replace("\r\n\r\n", &format!("\r\nX-Padding: {}\r\n\r\n", "x".repeat(padding)));
        stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
        let reply = reply(&mut stream).await;
        assert!(reply.starts_with(&format!("HTTP/1.1 {status}")), "{padding}: {reply}");
    }
    served.order_to_stop();
    served.ended().await;
    app.finish().await;
}
