//! Tests of the whole store. What they share is in `fixture` (builders) and `disk` (a disk that fails).

mod disk;
mod evidence;
mod examples;
mod faults;
mod fixture;
mod kill;
mod model;
mod opening;
