//! The crate's contract: whatever the order, the grouping and the number of
//! deliveries, one set of facts makes one state, and the right one.

mod external;
mod history;
mod lattice;

mod last_write_wins;
mod lattice_check;
mod lives;
mod loading;
mod money;
mod orderings;
mod payment_ids;
mod paypal;
mod permutations;
mod registering;
mod rules;
mod said;
