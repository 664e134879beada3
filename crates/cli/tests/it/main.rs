//! The real binary, run as its users run it.

mod audit;
mod configuration;
mod crash;
mod demo;
mod events;
mod interop;
mod keys;
mod serve;
mod shop;
mod simulate;
mod trigger;
mod verify;
