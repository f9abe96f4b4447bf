//! A load generator that floods any WebSocket server and tells the truth about it.

fn main() {}
