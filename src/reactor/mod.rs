//! r
mod wheel;
