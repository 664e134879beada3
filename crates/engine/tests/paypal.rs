//! Whether PayPal sent a delivery, asked of a PayPal that stands in for it.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use domain::Timestamp;
use engine::clients::paypal::{Credentials, PaypalVerifier};
use gateways::paypal::{Delivery, Signer, Trust};
use gateways::{Gateway, Reason, Secret, Verdict};
use http::{HeaderMap, HeaderValue};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, RsaKeySize};
use secrecy::SecretString;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

const NOW: i64 = 1_800_000_000;
const DAY: i64 = 24 * 60 * 60;
const BODY: &[u8] = b"{\"id\":\"WH-1\", \"amount\": 1.0e1}\n";
const VALID: Result<Verdict, ()> = Ok(Verdict::Valid { secret: 0 });

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(seconds)
}

fn ids(texts: &[&str]) -> Vec<Secret> {
    texts.iter().map(|text| Gateway::Paypal.secret(&SecretString::from(*text)).expect("a webhook id")).collect()
}

/// Answers as it is told to, one request after the other, and remembers what was asked.
/// The last answer is given again.
#[derive(Clone)]
struct Paypal {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
    answers: Arc<Mutex<VecDeque<(u16, String)>>>,
    /// Answers wait for it where there is one.
    gate: Option<Arc<Notify>>,
    waiting: Arc<AtomicUsize>,
    arrived: Arc<Notify>,
}

impl Paypal {
    async fn start(answers: &[(u16, &str)], gate: Option<Arc<Notify>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let paypal = Self {
            address: listener.local_addr().expect("an address"),
            requests: Arc::default(),
            answers: Arc::new(Mutex::new(answers.iter().map(|(status, body)| (*status, (*body).to_owned())).collect())),
            gate,
            waiting: Arc::default(),
            arrived: Arc::default(),
        };
        let serving = paypal.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serving.clone().serve(stream));
            }
        });
        paypal
    }

    fn base(&self) -> String {
        format!("http://{}/", self.address)
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().expect("unpoisoned").clone()
    }

    async fn serve(self, mut stream: TcpStream) {
        let mut request = Vec::new();
        let mut chunk = [0; 4096];
        loop {
            let len = stream.read(&mut chunk).await.expect("a request");
            request.extend_from_slice(&chunk[..len]);
            let text = String::from_utf8_lossy(&request);
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            let length =
                head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
            if len == 0 || body.len() >= length.unwrap_or(0_usize) {
                break;
            }
        }
        self.requests.lock().expect("unpoisoned").push(String::from_utf8(request).expect("text"));
        if let Some(gate) = &self.gate {
            self.waiting.fetch_add(1, Ordering::SeqCst);
            self.arrived.notify_one();
            gate.notified().await;
        }
        let (status, body) = {
            let mut answers = self.answers.lock().expect("unpoisoned");
            let answer = answers.front().cloned().expect("an answer");
            if answers.len() > 1 {
                answers.pop_front();
            }
            answer
        };
        let location = if status == 302 { format!("Location: {}elsewhere\r\n", self.base()) } else { String::new() };
        let head =
            format!("HTTP/1.1 {status} X\r\n{location}Content-Length: {}\r\nConnection: close\r\n\r\n", body.len());
        // Whoever reads no more than it has to may be gone.
        let _ = stream.write_all(&[head.as_bytes(), body.as_bytes()].concat()).await;
    }
}

/// PayPal's key and certificate, under a root of our own.
struct Key {
    signer: Signer,
    pem: String,
    trust: Trust,
}

fn key() -> Key {
    let mut of_root = CertificateParams::new(Vec::<String>::new()).expect("no names");
    of_root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root = CertifiedIssuer::self_signed(of_root, KeyPair::generate().expect("a key")).expect("a root");
    let key = KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_2048).expect("a key");
    let mut params = CertificateParams::new(vec!["messageverificationcerts.paypal.com".to_owned()]).expect("a name");
    params.not_after = rcgen::date_time_ymd(2027, 6, 1);
    let pem = params.signed_by(&key, &root).expect("a certificate").pem();
    let signer = Signer::from_pkcs8(&key.serialize_der()).expect("the same key");
    Key { signer, pem, trust: Trust::public(None).with_roots(root.pem().as_bytes()).expect("a root") }
}

impl Key {
    fn headers(&self, certificate: &str, seconds: i64) -> HeaderMap {
        let certificate_url = format!("https://api.paypal.com/v1/notifications/certs/{certificate}");
        let delivery = Delivery {
            webhook_id: "WEBHOOK",
            transmission_id: "t-1",
            at: at(seconds),
            certificate_url: &certificate_url,
        };
        let signed = self.signer.sign(&delivery, BODY).expect("signed");
        signed
            .into_iter()
            .map(|(name, value)| (name.parse().expect(name), HeaderValue::try_from(value).expect(name)))
            .collect()
    }
}

async fn verify(verifier: &PaypalVerifier, headers: &HeaderMap, seconds: i64) -> Result<Verdict, ()> {
    let day = 24 * 60 * 60;
    let webhook_ids = ids(&["WEBHOOK"]);
    verifier.verify(headers, BODY, &webhook_ids, at(seconds), 4 * day).await.map_err(|_| ())
}

#[tokio::test]
async fn a_certificate_is_fetched_once_from_the_base_by_its_id() {
    let key = key();
    let paypal = Paypal::start(&[(200, &key.pem)], None).await;
    let verifier = PaypalVerifier::by_certificate(key.trust.clone(), Some(paypal.base())).expect("a client");
    for _ in 0..3 {
        assert_eq!(verify(&verifier, &key.headers("CERT-1", NOW), NOW).await, VALID);
    }
    let requests = paypal.requests();
    assert_eq!(requests.len(), 1, "{requests:?}");
    assert!(requests[0].starts_with("GET /v1/notifications/certs/CERT-1 HTTP/1.1\r\n"), "{}", requests[0]);
    let of_another = key.headers("CERT-2", NOW);
    assert_eq!(verify(&verifier, &of_another, NOW).await, VALID);
    assert_eq!(paypal.requests().len(), 2);
}

#[tokio::test]
async fn what_is_refused_without_a_certificate_asks_for_none() {
    let key = key();
    let paypal = Paypal::start(&[(200, &key.pem)], None).await;
    let verifier = PaypalVerifier::by_certificate(key.trust.clone(), Some(paypal.base())).expect("a client");
    for url in ["https://evil.example/v1/notifications/certs/CERT-1", "http://api.paypal.com/v1/notifications/certs/C"]
    {
        let mut headers = key.headers("CERT-1", NOW);
        headers.insert("paypal-cert-url", HeaderValue::from_static(url));
        assert_eq!(verify(&verifier, &headers, NOW).await, Ok(Verdict::Invalid(Reason::CertificateUrl)));
    }
    assert_eq!(verify(&verifier, &HeaderMap::new(), NOW).await, Ok(Verdict::Invalid(Reason::HeaderMissing)));
    assert_eq!(paypal.requests(), Vec::<String>::new());
}

#[tokio::test]
async fn first_deliveries_at_once_share_one_fetch() {
    let key = key();
    let gate = Arc::new(Notify::new());
    let paypal = Paypal::start(&[(200, &key.pem)], Some(gate.clone())).await;
    let verifier = Arc::new(PaypalVerifier::by_certificate(key.trust.clone(), Some(paypal.base())).expect("a client"));
    let headers = key.headers("CERT-1", NOW);
    let deliveries: Vec<_> = (0..8)
        .map(|_| {
            let (verifier, headers) = (verifier.clone(), headers.clone());
            tokio::spawn(async move { verify(&verifier, &headers, NOW).await })
        })
        .collect();
    paypal.arrived.notified().await;
    gate.notify_one();
    for delivery in deliveries {
        assert_eq!(delivery.await.expect("it ends"), VALID);
    }
    assert_eq!(paypal.waiting.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn what_cannot_be_fetched_is_not_known_and_not_asked_for_again_at_once() {
    let key = key();
    let too_long = "x".repeat(64 * 1024 + 1);
    let moved = (302, "");
    for (status, body) in [(500, ""), (429, ""), moved, (200, "no certificate"), (200, &too_long), (403, "")] {
        let paypal = Paypal::start(&[(status, body), (200, &key.pem)], None).await;
        let verifier = PaypalVerifier::by_certificate(key.trust.clone(), Some(paypal.base())).expect("a client");
        let headers = key.headers("CERT-1", NOW);
        for _ in 0..3 {
            assert_eq!(verify(&verifier, &headers, NOW).await, Err(()), "{status}");
        }
        assert_eq!(paypal.requests().len(), 1, "{status}");
        assert_eq!(verify(&verifier, &headers, NOW + 11).await, VALID, "{status}");
    }
    let nobody = TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("an address");
    let verifier =
        PaypalVerifier::by_certificate(key.trust.clone(), Some(format!("http://{nobody}"))).expect("a client");
    assert_eq!(verify(&verifier, &key.headers("CERT-1", NOW), NOW).await, Err(()));
}

#[tokio::test]
async fn a_certificate_that_paypal_has_not_is_a_forgery() {
    let key = key();
    let paypal = Paypal::start(&[(404, ""), (200, &key.pem)], None).await;
    let verifier = PaypalVerifier::by_certificate(key.trust.clone(), Some(paypal.base())).expect("a client");
    let headers = key.headers("CERT-1", NOW);
    let missing = Ok(Verdict::Invalid(Reason::CertificateMissing));
    assert_eq!(verify(&verifier, &headers, NOW).await, missing);
    assert_eq!(verify(&verifier, &headers, NOW + 59).await, missing);
    assert_eq!(paypal.requests().len(), 1);
    assert_eq!(verify(&verifier, &headers, NOW + 60).await, VALID);
}

#[tokio::test]
async fn strangers_cannot_make_us_ask_without_end() {
    let key = key();
    let paypal = Paypal::start(&[(200, &key.pem), (404, "")], None).await;
    let verifier = PaypalVerifier::by_certificate(key.trust.clone(), Some(paypal.base())).expect("a client");
    let known = key.headers("CERT-1", NOW);
    assert_eq!(verify(&verifier, &known, NOW).await, VALID);
    for n in 0..100 {
        let _ = verify(&verifier, &key.headers(&format!("FORGED-{n}"), NOW), NOW).await;
    }
    assert_eq!(paypal.requests().len(), 30);
    // What is known stays known.
    assert_eq!(verify(&verifier, &known, NOW).await, VALID);
    assert_eq!(paypal.requests().len(), 30);
    let _ = verify(&verifier, &key.headers("FORGED-100", NOW), NOW + 60).await;
    assert_eq!(paypal.requests().len(), 31);
}

/// Strangers who use up all that may be asked for keep nobody from a known certificate.
#[tokio::test]
async fn a_known_certificate_is_fetched_beside_those_of_strangers() {
    const LATE: i64 = 1_811_808_000 - DAY / 2; // Half a day before it ends.
    let key = key();
    let mut answers = vec![(200, key.pem.as_str())];
    answers.extend([(404, ""); 30]);
    answers.push((200, key.pem.as_str()));
    let paypal = Paypal::start(&answers, None).await;
    let verifier = PaypalVerifier::by_certificate(key.trust.clone(), Some(paypal.base())).expect("a client");
    let early = LATE - DAY;
    assert_eq!(verify(&verifier, &key.headers("CERT-1", early), early).await, VALID);
    for n in 0..100 {
        let _ = verify(&verifier, &key.headers(&format!("FORGED-{n}"), LATE), LATE).await;
    }
    assert_eq!(paypal.requests().len(), 31);
    assert_eq!(verify(&verifier, &key.headers("CERT-1", LATE), LATE).await, VALID);
    assert_eq!(paypal.requests().len(), 32, "it is renewed");
    assert_eq!(verify(&verifier, &key.headers("CERT-2", LATE), LATE).await, Err(()), "one that nobody knows waits");
    assert_eq!(paypal.requests().len(), 32);
}

#[tokio::test]
async fn a_certificate_that_ends_soon_is_fetched_anew() {
    const END: i64 = 1_811_808_000; // 2027-06-01
    let key = key();
    let paypal = Paypal::start(&[(200, &key.pem), (500, ""), (200, &key.pem)], None).await;
    let verifier = PaypalVerifier::by_certificate(key.trust.clone(), Some(paypal.base())).expect("a client");
    let early = END - 2 * DAY;
    assert_eq!(verify(&verifier, &key.headers("CERT-1", early), early).await, VALID);
    let late = END - DAY / 2;
    let headers = key.headers("CERT-1", late);
    assert_eq!(verify(&verifier, &headers, late).await, VALID, "the renewal failed, the old one is good");
    assert_eq!(verify(&verifier, &headers, late + 599).await, VALID);
    assert_eq!(paypal.requests().len(), 2);
    assert_eq!(verify(&verifier, &headers, late + 600).await, VALID);
    assert_eq!(paypal.requests().len(), 3);
    assert_eq!(verify(&verifier, &headers, END + 1).await, Ok(Verdict::Invalid(Reason::CertificateNotValidThen)));
}

const TOKEN: &str = r#"{"access_token":"A21AA","token_type":"Bearer","expires_in":3600}"#;
const SUCCESS: &str = r#"{"verification_status":"SUCCESS"}"#;
const FAILURE: &str = r#"{"verification_status":"FAILURE"}"#;

fn postback(paypal: &Paypal) -> PaypalVerifier {
    let credentials =
        Credentials { client_id: SecretString::from("client"), client_secret: SecretString::from("s3cret") };
    PaypalVerifier::by_postback(credentials, &paypal.base()).expect("a client")
}

#[tokio::test]
async fn paypal_is_asked_with_the_very_bytes_that_came() {
    let paypal = Paypal::start(&[(200, TOKEN), (200, SUCCESS), (200, FAILURE)], None).await;
    let (verifier, headers) = (postback(&paypal), key().headers("CERT-1", NOW));
    assert_eq!(verify(&verifier, &headers, NOW).await, VALID);
    assert_eq!(verify(&verifier, &headers, NOW + 3000).await, Ok(Verdict::Invalid(Reason::Denied)));
    let requests = paypal.requests();
    assert_eq!(requests.len(), 3, "one token for both");
    assert!(requests[0].starts_with("POST /v1/oauth2/token HTTP/1.1\r\n"), "{}", requests[0]);
    assert!(requests[0].contains("authorization: Basic Y2xpZW50OnMzY3JldA==\r\n"), "{}", requests[0]);
    assert!(requests[0].ends_with("\r\n\r\ngrant_type=client_credentials"), "{}", requests[0]);
    assert!(requests[1].starts_with("POST /v1/notifications/verify-webhook-signature HTTP/1.1\r\n"), "{}", requests[1]);
    assert!(requests[1].contains("authorization: Bearer A21AA\r\n"), "{}", requests[1]);
    let (_, asked) = requests[1].split_once("\r\n\r\n").expect("a body");
    assert!(asked.contains(std::str::from_utf8(BODY).expect("text")), "{asked}");
    let asked: Value = serde_json::from_str(asked).expect("JSON");
    for (key, header) in [
        ("auth_algo", "paypal-auth-algo"),
        ("cert_url", "paypal-cert-url"),
        ("transmission_id", "paypal-transmission-id"),
        ("transmission_sig", "paypal-transmission-sig"),
        ("transmission_time", "paypal-transmission-time"),
    ] {
        assert_eq!(asked[key], headers[header].to_str().expect(header), "{key}");
    }
    assert_eq!(asked["webhook_id"], "WEBHOOK");
}

#[tokio::test]
async fn each_webhook_id_is_asked_about() {
    let paypal = Paypal::start(&[(200, TOKEN), (200, FAILURE), (200, SUCCESS)], None).await;
    let headers = key().headers("CERT-1", NOW);
    let verdict = postback(&paypal).verify(&headers, BODY, &ids(&["OLD", "NEW"]), at(NOW), 300).await;
    assert_eq!(verdict, Ok(Verdict::Valid { secret: 1 }));
}

#[tokio::test]
async fn what_needs_no_word_of_paypals_is_not_asked_about() {
    let paypal = Paypal::start(&[(200, TOKEN), (200, SUCCESS)], None).await;
    let verifier = postback(&paypal);
    let headers = key().headers("CERT-1", NOW);
    let one = ids(&["WEBHOOK"]);
    let ask = async |headers: &HeaderMap, body: &[u8], ids: &[Secret], seconds| {
        verifier.verify(headers, body, ids, at(seconds), 300).await
    };
    let refused = |reason| Ok(Verdict::Invalid(reason));
    assert_eq!(ask(&HeaderMap::new(), BODY, &one, NOW).await, refused(Reason::HeaderMissing));
    assert_eq!(ask(&headers, BODY, &[], NOW).await, refused(Reason::NoSecret));
    assert_eq!(ask(&headers, BODY, &one, NOW + 301).await, refused(Reason::OutsideTolerance(301)));
    // Two values would let the sender choose the webhook id.
    for body in [&b"{},\"webhook_id\":\"OTHER\""[..], b"{}}", b"{", b"", b"\xff"] {
        assert_eq!(ask(&headers, body, &one, NOW).await, refused(Reason::NotJson), "{body:?}");
    }
    assert_eq!(paypal.requests(), Vec::<String>::new());
}

#[tokio::test]
async fn without_paypals_word_nothing_is_known() {
    let cases: [&[(u16, &str)]; 8] = [
        &[(401, "")],
        &[(500, "")],
        &[(200, "{}")],
        &[(200, TOKEN), (500, "")],
        &[(200, TOKEN), (302, "")],
        &[(200, TOKEN), (200, "{}")],
        &[(200, TOKEN), (200, r#"{"verification_status":"PERHAPS"}"#)],
        &[(200, TOKEN), (401, ""), (200, TOKEN), (401, "")],
    ];
    let headers = key().headers("CERT-1", NOW);
    for answers in cases {
        let paypal = Paypal::start(answers, None).await;
        assert_eq!(verify(&postback(&paypal), &headers, NOW).await, Err(()), "{answers:?}");
    }
    let paypal = Paypal::start(&[(200, TOKEN), (400, "")], None).await;
    assert_eq!(verify(&postback(&paypal), &headers, NOW).await, Ok(Verdict::Invalid(Reason::Denied)));
}

#[tokio::test]
async fn a_token_is_replaced_when_it_ends_or_is_refused() {
    let renewed = r#"{"access_token":"A21BB","expires_in":3600}"#;
    let answers = [(200, TOKEN), (401, ""), (200, renewed), (200, SUCCESS), (200, TOKEN), (200, SUCCESS)];
    let paypal = Paypal::start(&answers, None).await;
    let (verifier, key) = (postback(&paypal), key());
    assert_eq!(verify(&verifier, &key.headers("CERT-1", NOW), NOW).await, VALID);
    assert!(paypal.requests()[3].contains("Bearer A21BB"));
    // A minute before its end it is not used any more.
    assert_eq!(verify(&verifier, &key.headers("CERT-1", NOW), NOW + 3540).await, VALID);
    assert_eq!(paypal.requests().len(), 6);
}
