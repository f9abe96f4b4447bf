//! Durable history in SQLite: a thread that commits, one that reads, one that brings the log into the database, and one that
//! keeps the index for the search. They share nothing with the loops but what `threads` hands over.

mod backup;
mod checkpoint;
mod clock;
mod data_dir;
mod erasure;
mod fresh;
mod lineage;
mod maintenance;
mod mine;
mod names;
mod notify;
mod outbox;
mod pairs;
mod persons;
mod private_file;
mod propose;
mod reader;
mod retention;
mod room_list;
mod rows;
mod schema;
mod search;
mod search_index;
mod threads;
mod transaction;
mod transfer;
mod writer;

pub use backup::backup;
pub use clock::now_ms;
pub use data_dir::{OpenError, Options};
pub use threads::{
    Client, MAX_ASKS, MAX_ORDER_BYTES, MAX_ORDERS, OutboxEnd, Running, Worker, open, open_for,
};
pub use transaction::Refused;
pub use transfer::{Counts, TransferError, export, import};
pub use writer::FinishError;
