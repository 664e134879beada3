//! Thin events: they name an object without showing it, so it has to be fetched.
//! <https://docs.stripe.com/event-destinations#thin-events>

use serde::{Deserialize, Serialize};

use crate::lattice::{Largest, is_bottom, join_by_field};
use crate::{ObjectKey, Timestamp};

/// That an object changed, and is not known better yet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ThinFacts {
    #[serde(skip_serializing_if = "is_bottom")]
    pub related: std::collections::BTreeSet<ObjectKey>,
    #[serde(skip_serializing_if = "is_bottom")]
    pub changed_at: Largest<Timestamp>,
}

join_by_field!(ThinFacts { related, changed_at });
