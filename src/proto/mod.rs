//! The protocol, sans I/O, both roles.
