//! PayPal: signatures, certificates, events.

mod certificates;
mod corpus;
mod facts;
mod properties;
mod signature;
mod support;
