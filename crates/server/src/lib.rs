//! HTTP. The only crate that names axum.
//!
//! [`ingress`] takes deliveries, `api/` answers the merchant's questions: the file's
//! path is the URL's.

pub mod api;
pub mod auth;
pub mod endpoint;
pub mod error;
pub mod ingress;
pub mod router;
pub mod serve;

use std::sync::Arc;

use engine::{Clock, Intake};
use store::Store;
use tokio::sync::Semaphore;

pub use endpoint::{Endpoint, Endpoints};
pub use router::router;

/// Bytes of bodies that may be on their way in, over all senders together.
const BODIES_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What handlers need. Cheap to clone.
#[derive(Clone, Debug)]
pub struct App {
    pub store: Store,
    pub intake: Intake,
    pub clock: Clock,
    pub endpoints: Arc<Endpoints>,
    /// What is left of `BODIES_BYTES_MAX`.
    pub(crate) body_bytes: Arc<Semaphore>,
}

impl App {
    pub fn new(store: Store, intake: Intake, clock: Clock, endpoints: Endpoints) -> Self {
        let body_bytes = Arc::new(Semaphore::new(BODIES_BYTES_MAX));
        Self { store, intake, clock, endpoints: Arc::new(endpoints), body_bytes }
    }
}
