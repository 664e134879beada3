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

pub use endpoint::{Endpoint, Endpoints};
pub use router::router;

/// What handlers need. Cheap to clone.
#[derive(Clone, Debug)]
pub struct App {
    pub store: Store,
    pub intake: Intake,
    pub clock: Clock,
    pub endpoints: Arc<Endpoints>,
}
