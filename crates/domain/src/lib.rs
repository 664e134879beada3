//! What payments mean: facts that gateways state, how they add up, and what a
//! merchant reads off the sum.
//!
//! Everything here is pure and total: no IO, no async, no clock, no randomness.
//! [`Facts`] is a join-semilattice, so any order, grouping and repetition of the
//! same facts ends in the same value; [`Payment`] and [`Order`] are functions of
//! that value. `docs/adr/0002-state-is-a-fold.md` says why.

pub mod booking;
pub mod charge;
pub mod dispute;
pub mod external;
pub mod facts;
pub mod ids;
pub mod intent;
pub mod lattice;
pub mod ledger;
mod mismatch;
pub mod money;
pub mod notification;
pub mod order;
pub mod payment;
pub mod paypal;
pub mod reader;
pub mod refund;
pub mod registration;
pub mod retry;
pub mod session;
pub mod status;
pub mod thin;
pub mod time;

pub use booking::{Booking, BookingInputs, BookingTerms, Days};
pub use facts::{Facts, ObjectKey, ObjectKind};
pub use ids::{AccountId, Mode, Scope};
pub use ledger::{Change, EventFacts, Ledger, Outcome, Subject};
pub use money::{Currency, Money};
pub use order::Order;
pub use payment::{Flag, Payment};
pub use registration::{ReferenceKind, Registration, Terms};
pub use status::{DisputeStatus, PaymentStatus, Phase};
pub use time::Timestamp;
