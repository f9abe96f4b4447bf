//! permessage-deflate: any octets as the DEFLATE stream of messages, in which cuts and fragments do not matter, and
//! messages that one end compresses and the other inflates.

use std::sync::Arc;

use switchboard::proto::{
    Connection, DeflateAgreement, DeflateConfig, DeflatePool, MaskingKeys, MessageKind, Opcode, Outgoing,
    ProtoConfig,
};

use super::frames::{check, limits};
use super::source::Source;
use super::support::{Role, Seen, frame, receive};

pub fn run(data: &[u8]) {
    let mut source = Source::new(data);
    let choices = source.octet();
    let agreement = agreement(source.octet());
    let cuts = source.cuts();
    if choices & 8 != 0 {
        return there_and_back(source, agreement, &cuts);
    }
    let role = if choices & 1 == 0 { Role::Server } else { Role::Client };
    let config = config(choices >> 1);
    let bytes = compressed_messages(role, source);
    check(&|| connection(role, &config, agreement), &config.limits, &bytes, &cuts);
}

pub fn agreement(choices: u8) -> DeflateAgreement {
    DeflateAgreement {
        server_no_context_takeover: choices & 1 != 0,
        client_no_context_takeover: choices & 2 != 0,
        server_max_window_bits: 9 + (choices >> 2) % 7,
        client_max_window_bits: 15 - (choices >> 5) % 7,
    }
}

fn config(choice: u8) -> ProtoConfig {
    let mut limits = limits(choice);
    // Inflating what fits no memory would only show how long that takes.
    limits.max_message = limits.max_message.min(100_000);
    let deflate = Some(DeflateConfig::default().with(|it| it.min_len = usize::from(choice >> 2 & 1) * 12));
    ProtoConfig::default().with(|it| {
        it.limits = limits;
        it.deflate = deflate;
    })
}

fn connection(role: Role, config: &ProtoConfig, agreement: DeflateAgreement) -> Connection {
    let pool = DeflatePool::new(config);
    let config = Arc::new(config.clone());
    match role {
        Role::Server => Connection::server(&config, 0),
        Role::Client => Connection::client(&config, MaskingKeys::Seeded(7), 0),
    }
    .with_deflate(agreement, &pool)
}

/// Messages of up to three frames each, whose first frame says that they are compressed.
fn compressed_messages(role: Role, mut source: Source<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    while !source.is_empty() {
        let choices = source.octet();
        let opcode = if choices & 1 == 0 { Opcode::Text } else { Opcode::Binary };
        let last = choices >> 1 & 3;
        for at in 0..=last {
            let len = usize::from(source.octet());
            let opcode = if at == 0 { opcode } else { Opcode::Continuation };
            let mut fragment = frame(role, at == last, opcode, source.take(len));
            let is_compressed = choices & 8 == 0;
            if at == 0 && is_compressed {
                fragment[0] |= 0x40;
            }
            bytes.extend(fragment);
        }
    }
    bytes
}

fn there_and_back(mut source: Source<'_>, agreement: DeflateAgreement, cuts: &[usize]) {
    // No limits, and thresholds of 0 and 12 octets.
    let config = config(if source.octet() & 1 == 0 { 7 } else { 3 });
    let role = if source.octet() & 1 == 0 { Role::Server } else { Role::Client };
    let other = if role == Role::Server { Role::Client } else { Role::Server };
    let (mut sender, mut receiver) =
        (connection(other, &config, agreement), connection(role, &config, agreement));
    while !source.is_empty() {
        let len = usize::from(source.octet());
        let payload = source.take(len).repeat(usize::from(source.octet() % 32));
        let mut bytes = Vec::new();
        let sent = sender.encode(Outgoing::binary(&payload), &mut bytes);
        assert_eq!(sent, Ok(()));
        let outcome = receive(&mut receiver, &bytes, cuts);
        assert_eq!(outcome.events, [Seen::Message(MessageKind::Binary, payload)]);
        assert_eq!((outcome.error, outcome.answers.len()), (None, 0));
    }
}
