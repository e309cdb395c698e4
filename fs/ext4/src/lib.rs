//! stub
pub mod journal;
