//! `loadgen` as a process, against the real server and against servers with faults.

mod agents;
mod chat;
mod custom;
mod fanout;
mod golden;
mod honest;
mod hub;
mod liars;
mod opening;
mod options;
#[cfg(unix)]
mod reach;
mod reports;
mod scenarios;
#[cfg(unix)]
mod screen;
mod several;
mod shapes;
mod support;
mod tls;
