//! PayPal's certificates, fetched when a delivery first names them.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use domain::Timestamp;
use gateways::Reason;
use gateways::paypal::{CertificateUrl, Certificates, Trust};
use http::StatusCode;

use crate::clients::{Unreachable, body, client};

/// A chain in PEM has about 6 KiB.
const PEM_LEN_MAX: usize = 64 * 1024;

/// PayPal uses one or two at a time.
const CERTIFICATES_MAX: usize = 64;

/// A stranger can name certificates that do not exist, but make us ask for no more.
const FETCHES_MAX_PER_MINUTE: u32 = 30;

/// Beside those, kept for certificates that PayPal is known to have: strangers cannot
/// use it up.
const FETCHES_OF_KNOWN_MAX_PER_MINUTE: u32 = 10;

/// Places that are remembered to have had a certificate.
const KNOWN_MAX: usize = 64;

const MINUTE_MICROS: i64 = 60 * 1_000_000;

/// For so long, what could not be fetched is not asked for again.
const FAILURE_KEPT_MICROS: i64 = 10 * 1_000_000;

/// For so long, what PayPal does not have is not asked for again.
const ABSENCE_KEPT_MICROS: i64 = MINUTE_MICROS;

/// So long before a certificate ends, it is fetched anew, in case it was renewed.
const RENEWAL_MICROS: i64 = 24 * 60 * MINUTE_MICROS;

/// How often that is tried.
const RENEWAL_EVERY_MICROS: i64 = 10 * MINUTE_MICROS;

/// A certificate, or why there is none.
type Found = Result<Arc<Certificates>, Reason>;

#[derive(Debug)]
pub(super) struct Cache {
    client: reqwest::Client,
    /// Stands in for PayPal.
    base: Option<String>,
    slots: Mutex<Slots>,
}

#[derive(Debug, Default)]
struct Slots {
    by_url: HashMap<CertificateUrl, Slot>,
    uses: u64,
    /// When the minute began, and how many fetches there were in it.
    minute: Option<Timestamp>,
    fetches: u32,
    fetches_of_known: u32,
    /// Where there was a certificate, also when it is not kept any more; the latest
    /// fetched is the last.
    known: VecDeque<CertificateUrl>,
}

#[derive(Clone, Debug, Default)]
struct Slot {
    last_use: u64,
    /// Held while it is fetched, so that those who come meanwhile wait for the same.
    entry: Arc<tokio::sync::Mutex<Option<Entry>>>,
}

#[derive(Clone, Debug)]
struct Entry {
    found: Result<Found, Unreachable>,
    fetched_at: Timestamp,
}

impl Cache {
    pub(super) fn new(base: Option<String>) -> Result<Self, Unreachable> {
        Ok(Self { client: client(base.is_none())?, base, slots: Mutex::default() })
    }

    /// The certificate at that place: `Err` inside of `Ok` where PayPal has none.
    pub(super) async fn get(&self, url: &CertificateUrl, trust: &Trust, now: Timestamp) -> Result<Found, Unreachable> {
        let slot = self.slot(url);
        let mut entry = slot.lock().await;
        if let Some(known) = entry.as_ref().filter(|known| known.is_fresh(url, trust, now)) {
            return known.found.clone();
        }
        if !self.may_fetch(url, now) {
            // One that was to be renewed may still be good.
            let old = entry.as_ref().map(|known| &known.found).and_then(|found| found.as_ref().ok());
            let too_many = || Unreachable("too many unknown certificates are asked for".to_owned());
            return old.filter(|found| found.is_ok()).cloned().ok_or_else(too_many);
        }
        let found = self.fetch(url).await;
        if matches!(found, Ok(Ok(_))) {
            self.slots.lock().unwrap_or_else(PoisonError::into_inner).remember(url);
        }
        let kept = entry.take().filter(|known| matches!(known.found, Ok(Ok(_))) && !matches!(found, Ok(Ok(_))));
        // A renewal that fails takes nothing away: the old one may still be good.
        let found = kept.map_or(found, |known| known.found);
        *entry = Some(Entry { found: found.clone(), fetched_at: now });
        found
    }

    fn slot(&self, url: &CertificateUrl) -> Arc<tokio::sync::Mutex<Option<Entry>>> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.uses += 1;
        let uses = slots.uses;
        if !slots.by_url.contains_key(url) && slots.by_url.len() >= CERTIFICATES_MAX {
            slots.drop_one();
        }
        let slot = slots.by_url.entry(url.clone()).or_default();
        slot.last_use = uses;
        slot.entry.clone()
    }

    /// Counts a fetch, unless there were too many lately.
    fn may_fetch(&self, url: &CertificateUrl, now: Timestamp) -> bool {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let began = slots.minute.filter(|began| age_micros(*began, now) < MINUTE_MICROS);
        if began.is_none() {
            slots.minute = Some(now);
            (slots.fetches, slots.fetches_of_known) = (0, 0);
        }
        if slots.fetches_of_known < FETCHES_OF_KNOWN_MAX_PER_MINUTE && slots.known.contains(url) {
            slots.fetches_of_known += 1;
            return true;
        }
        let may = slots.fetches < FETCHES_MAX_PER_MINUTE;
        slots.fetches += u32::from(may);
        may
    }

    async fn fetch(&self, url: &CertificateUrl) -> Result<Found, Unreachable> {
        let address = self.base.as_ref().map_or_else(|| url.to_string(), |base| url.under(base));
        let response = self.client.get(address).send().await?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND | StatusCode::GONE => {
                return Ok(Err(Reason::CertificateMissing));
            }
            status => return Err(Unreachable(format!("PayPal answered {status} for its certificate"))),
        }
        let pem = body(response, PEM_LEN_MAX).await?;
        let certificates = Certificates::from_pem(&pem).map_err(|error| Unreachable(error.to_string()))?;
        Ok(Ok(Arc::new(certificates)))
    }
}

impl Slots {
    fn remember(&mut self, url: &CertificateUrl) {
        self.known.retain(|known| known != url);
        if self.known.len() >= KNOWN_MAX {
            self.known.pop_front();
        }
        self.known.push_back(url.clone());
    }

    /// Makes room: what is no certificate goes first, then what was used longest ago.
    fn drop_one(&mut self) {
        let is_certificate = |slot: &Slot| {
            // One that is being fetched right now is not known to be one.
            slot.entry
                .try_lock()
                .is_ok_and(|entry| entry.as_ref().is_some_and(|known| matches!(known.found, Ok(Ok(_)))))
        };
        let first = self.by_url.iter().min_by_key(|(_, slot)| (is_certificate(slot), slot.last_use));
        if let Some(url) = first.map(|(url, _)| url.clone()) {
            self.by_url.remove(&url);
        }
    }
}

impl Entry {
    fn is_fresh(&self, url: &CertificateUrl, trust: &Trust, now: Timestamp) -> bool {
        let age = age_micros(self.fetched_at, now);
        match &self.found {
            Err(_) => age < FAILURE_KEPT_MICROS,
            Ok(Err(_)) => age < ABSENCE_KEPT_MICROS,
            Ok(Ok(certificates)) => {
                let later = now.plus_micros(RENEWAL_MICROS);
                let ends_soon = certificates.check(trust, url.mode(), later) == Err(Reason::CertificateNotValidThen);
                !ends_soon || age < RENEWAL_EVERY_MICROS
            }
        }
    }
}

/// A clock that was set back makes nothing older.
const fn age_micros(since: Timestamp, now: Timestamp) -> i64 {
    now.micros().saturating_sub(since.micros())
}
