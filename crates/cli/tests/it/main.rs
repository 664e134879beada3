//! The real binary, run as its users run it.

#[macro_use]
mod shop;

mod audit;
mod configuration;
mod crash;
mod demo;
mod endpoints;
mod events;
mod faults;
mod five_systems;
mod growth;
mod interop;
mod keys;
mod logs;
mod migrate;
mod postgres;
mod prove;
mod reload;
mod serve;
mod simulate;
mod trigger;
mod verify;
mod verify_paypal;
