//! (Written on another branch.)
