//! The proof of writing: the model against the host's file system, the library against the model, after every kind of end.

mod corrupted;
mod faults;
mod full;
mod host;
mod kill;
mod power;
mod sequences;
mod shapes;
mod stress;
mod support;
mod tails;
