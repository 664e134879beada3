//! The load generator against a server that does what it is told.
#![expect(clippy::unwrap_used, reason = "a test ends where it goes wrong")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use bench::load::{self, Amount, Pace, Plan, Report};
use bench::requests::Requests;

/// What the server does with a request, by its number over all connections.
#[derive(Clone, Copy)]
enum Answer {
    Status(u16),
    /// A 200 in two writes, the second after this time.
    InPieces(Duration),
    After(Duration),
    HangUp,
}

fn serve(answer: fn(usize) -> Answer) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let number = Arc::new(AtomicUsize::new(0));
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let number = Arc::clone(&number);
            std::thread::spawn(move || serve_connection(stream, &number, answer));
        }
    });
    address
}

fn serve_connection(mut stream: TcpStream, number: &AtomicUsize, answer: fn(usize) -> Answer) {
    while read_request(&mut stream) {
        match answer(number.fetch_add(1, Ordering::Relaxed)) {
            Answer::Status(status) => stream.write_all(reply(status).as_bytes()).unwrap(),
            Answer::InPieces(time) => {
                let reply = reply(200);
                let (first, second) = reply.split_at(reply.len() / 2);
                stream.write_all(first.as_bytes()).unwrap();
                take(time);
                stream.write_all(second.as_bytes()).unwrap();
            }
            Answer::After(time) => {
                take(time);
                stream.write_all(reply(200).as_bytes()).unwrap();
            }
            Answer::HangUp => return,
        }
    }
}

/// Being slow is what is tested here, so this is time taken and not a hope.
fn take(time: Duration) {
    let (_sender, receiver) = mpsc::channel::<()>();
    let _ = receiver.recv_timeout(time);
}

fn reply(status: u16) -> String {
    format!("HTTP/1.1 {status} Said\r\ncontent-length: 17\r\n\r\n{{\"received\":true}}")
}

/// Whether a whole request came.
fn read_request(stream: &mut TcpStream) -> bool {
    let mut bytes = Vec::new();
    let mut chunk = [0; 8_192];
    loop {
        let mut headers = [httparse::EMPTY_HEADER; 16];
        let mut head = httparse::Request::new(&mut headers);
        if let Ok(httparse::Status::Complete(head_len)) = head.parse(&bytes) {
            let length = head.headers.iter().find(|h| h.name == "Content-Length").unwrap().value;
            let length: usize = std::str::from_utf8(length).unwrap().parse().unwrap();
            assert!(bytes.len() <= head_len + length, "a request is not sent before the reply to the last one");
            if bytes.len() == head_len + length {
                return true;
            }
        }
        match stream.read(&mut chunk) {
            Ok(0) | Err(_) => return false,
            Ok(len) => bytes.extend_from_slice(&chunk[..len]),
        }
    }
}

fn run(answer: fn(usize) -> Answer, connections: usize, pace: Pace, count: usize) -> Report {
    let requests = Requests::render(count, 1, 1_780_000_000);
    let amount = Amount::Each((0..u32::try_from(count).unwrap()).collect());
    load::run(&Plan { address: serve(answer), connections, pace, amount }, &requests, &mut |_| ()).unwrap()
}

#[test]
fn each_request_is_sent_once_and_its_acknowledgement_is_in_the_ledger() {
    for pace in [Pace::Closed, Pace::Open { per_second: 5_000.0 }] {
        let report = run(|_| Answer::Status(200), 8, pace, 1_000);
        let mut ledger = report.acknowledged.clone();
        ledger.sort_unstable();
        assert_eq!(ledger, (0..1_000).collect::<Vec<u32>>(), "{pace:?}");
        assert_eq!((report.by_status[&200], report.latency.len()), (1_000, 1_000));
        assert_eq!((report.connections_lost, report.unanswered.len()), (0, 0));
    }
}

#[test]
fn what_is_refused_is_counted_and_not_in_the_ledger() {
    let report = run(|number| Answer::Status(if number % 4 == 0 { 503 } else { 200 }), 4, Pace::Closed, 400);
    assert_eq!((report.by_status[&200], report.by_status[&503], report.refused()), (300, 100, 100));
    assert_eq!((report.acknowledged.len(), report.latency.len()), (300, 300));
}

#[test]
fn a_reply_in_pieces_is_one_reply() {
    let report = run(|_| Answer::InPieces(Duration::from_millis(2)), 4, Pace::Closed, 40);
    assert_eq!((report.acknowledged.len(), report.connections_lost), (40, 0));
}

#[test]
fn what_was_under_way_when_the_server_hung_up_is_known() {
    let report = run(|number| if number < 50 { Answer::Status(200) } else { Answer::HangUp }, 5, Pace::Closed, 400);
    assert_eq!((report.acknowledged.len(), report.unanswered.len(), report.connections_lost), (50, 5, 5));
    assert!(report.unanswered.iter().all(|index| !report.acknowledged.contains(index)));
}

#[test]
fn a_run_for_a_while_repeats_its_requests() {
    let requests = Requests::render(10, 1, 1_780_000_000);
    let amount = Amount::For(Duration::from_millis(200));
    let plan = Plan { address: serve(|_| Answer::Status(200)), connections: 2, pace: Pace::Closed, amount };
    let report = load::run(&plan, &requests, &mut |_| ()).unwrap();
    assert!(report.acknowledged.len() > 10 && report.elapsed >= Duration::from_millis(190), "{:?}", report.elapsed);
}

#[test]
fn a_run_within_a_time_sends_from_the_front_and_nothing_twice() {
    let requests = Requests::render(2_000, 1, 1_780_000_000);
    let indices: Vec<u32> = (0..2_000).filter(|index| index % 2 == 1).collect();
    let slowly = serve(|_| Answer::InPieces(Duration::from_millis(5)));
    // The first is over before its time is, the second is cut by it.
    for (address, duration) in
        [(serve(|_| Answer::Status(200)), Duration::from_secs(60)), (slowly, Duration::from_millis(200))]
    {
        let amount = Amount::Within(indices.clone(), duration);
        let report = load::run(&Plan { address, connections: 2, pace: Pace::Closed, amount }, &requests, &mut |_| ());
        let mut ledger = report.unwrap().acknowledged;
        ledger.sort_unstable();
        let is_cut = duration < Duration::from_secs(1);
        assert_eq!(ledger.len() < indices.len(), is_cut, "{} in {duration:?}", ledger.len());
        assert_eq!(ledger, indices[..ledger.len()]);
    }
}

/// The server stalls for 300 ms once, and 100 more requests are due in the first 100 ms
/// of them: a generator that waited to send would count one slow reply.
#[test]
fn an_open_loop_charges_a_stall_to_all_that_were_due_in_it() {
    let stall = |number| if number == 0 { Answer::After(Duration::from_millis(300)) } else { Answer::Status(200) };
    let report = run(stall, 1, Pace::Open { per_second: 1_000.0 }, 100);
    assert_eq!(report.acknowledged.len(), 100);
    assert!(
        report.latency.min() >= 199_000,
        "the last was due 201 ms before the stall's end: {}",
        report.latency.min()
    );
}

#[test]
fn the_observer_sees_progress_and_may_end_the_server() {
    let requests = Requests::render(200, 1, 1_780_000_000);
    let amount = Amount::Each((0..200).collect());
    let plan = Plan { address: serve(|_| Answer::Status(200)), connections: 2, pace: Pace::Closed, amount };
    let mut seen = Vec::new();
    load::run(&plan, &requests, &mut |acknowledged| seen.push(acknowledged)).unwrap();
    assert!(seen.is_sorted() && seen.last() == Some(&200), "{:?}", seen.last());
}
