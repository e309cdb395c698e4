//! The hard cases: many threads in little memory, devices that are slow, fail or hang, owners of everything.
//!
//! Nothing here measures time. What must not hang is under a watchdog, which tells the state of the memory and ends the
//! process; what must be fair is asserted by order or by count.

mod crowds;
mod gate;
mod gone;
mod limits;
mod share;
mod support;
mod wanted;
mod wired;
