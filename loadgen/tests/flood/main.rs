//! `loadgen` as a process, against the real server and against servers that lie.

mod honest;
mod liars;
mod options;
mod support;
