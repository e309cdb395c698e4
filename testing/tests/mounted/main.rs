//! Mounts judged by other people's programs: `rumpcap_testing::mounted` says how, docs/judged.md what came of it.

mod archives;
mod fsx;
mod hung;
mod killed;
mod load;
mod pjdfstest;
mod postgres;
mod programs;
mod shell;
mod sqlite;
