//! The command line and the subcommands.

pub(crate) mod cli;
pub(crate) mod compare;
pub(crate) mod merge;
pub(crate) mod pages;
mod print;
pub(crate) mod remote;
pub(crate) mod search;
pub(crate) mod start;
