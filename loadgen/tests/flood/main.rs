//! `loadgen` as a process, against the real server and against servers that lie.

mod chat;
mod fanout;
mod honest;
mod hub;
mod liars;
mod options;
mod reports;
mod scenarios;
mod support;
mod tls;
