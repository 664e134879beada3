//! HTTP. The only crate that names axum.
//!
//! [`ingress`] takes deliveries, `api/` answers the merchant's questions: the file's
//! path is the URL's.

pub mod api;
pub mod auth;
mod body;
pub mod client_address;
mod door;
pub mod endpoint;
pub mod error;
mod ingress;
pub mod limits;
mod refusal;
mod reply;
pub mod router;
pub mod serve;
mod stalling;

use std::sync::Arc;

use engine::{Clock, Intake};
use store::Store;

use api::webhooks::Probe;
use body::{BODIES_BYTES_MAX, BodyMemory};
use endpoint::InForce;
use limits::{Limiter, Throttle};
use refusal::StrangersLines;

pub use api::config::PublicConfig;
pub use endpoint::{Endpoint, Endpoints};
pub use router::router;

/// What handlers need. Cheap to clone.
#[derive(Clone, Debug)]
pub struct App {
    pub store: Store,
    pub intake: Intake,
    pub clock: Clock,
    pub endpoints: Arc<InForce>,
    pub public: Arc<PublicConfig>,
    bodies: Arc<BodyMemory>,
    limiter: Arc<Limiter>,
    /// Lines about those who send too much, and too much that nobody signed.
    excess_lines: Arc<Throttle>,
    unsigned_lines: Arc<Throttle>,
    /// Lines about all else that nobody signed.
    strangers_lines: Arc<StrangersLines>,
    probe: Arc<Probe>,
}

impl App {
    pub fn new(store: Store, intake: Intake, clock: Clock, endpoints: Endpoints) -> Self {
        Self {
            store,
            intake,
            clock,
            endpoints: Arc::new(InForce::new(endpoints)),
            public: Arc::default(),
            bodies: Arc::new(BodyMemory::new(BODIES_BYTES_MAX)),
            limiter: Arc::default(),
            excess_lines: Arc::default(),
            unsigned_lines: Arc::default(),
            strangers_lines: Arc::default(),
            probe: Arc::default(),
        }
    }

    /// As it is, with what everybody may know.
    #[must_use]
    pub fn with_public(self, public: PublicConfig) -> Self {
        Self { public: Arc::new(public), ..self }
    }
}
