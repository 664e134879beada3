//! The real binary, run as its users run it.

mod audit;
mod configuration;
mod crash;
mod demo;
mod endpoints;
mod events;
mod five_systems;
mod interop;
mod keys;
mod logs;
mod reload;
mod serve;
mod shop;
mod simulate;
mod trigger;
mod verify;
mod verify_paypal;
