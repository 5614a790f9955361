//! A provider and a coordinator on loopback. The provider is the real one, with the sandbox in its own process; the
//! coordinator is a double that speaks the real protocol and does what each test needs.

mod coordinators;
mod ends;
mod engines;
mod faults;
mod following;
mod money;
mod pay;
mod results;
mod speed;
mod support;
