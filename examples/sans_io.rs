//! The protocol core without any I/O: `cargo run --example sans_io --no-default-features`. A client and a server exchange octets
//! through two vectors. A program with an event loop of its own puts sockets in their place.

use std::sync::Arc;

use switchboard::proto::client::{ClientHandshake, ClientRequest};
use switchboard::proto::handshake::{check_upgrade, write_accept};
use switchboard::proto::head::{HeadScanner, with_request};
use switchboard::proto::{
    CloseCode, Connection, Event, Input, Limits, MaskingKeys, Millis, Outgoing, ProtoConfig, ReadyState,
};

/// Time is an argument: the core reads no clock.
const NOW: Millis = 0;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let limits = Limits::default();
    let (mut to_server, mut to_client) = (Vec::new(), Vec::new());

    // The opening handshake. The nonce is random in a program that talks to strangers.
    let request = ClientRequest { host: "localhost", target: "/", ..ClientRequest::default() };
    let mut handshake = ClientHandshake::start(&request, [7; 16], &mut to_server);
    accept(&mut to_server, &limits, &mut to_client)?;
    let agreement = handshake.receive(&to_client, &request, &limits).map_err(|error| error.to_string())?;
    let agreement = agreement.ok_or("the response is incomplete")?;
    to_client.drain(..agreement.head_len);

    let config = Arc::new(ProtoConfig::default());
    let mut server = Connection::server(&config, NOW);
    let mut client = Connection::client(&config, MaskingKeys::Seeded(7), NOW);

    client.encode(Outgoing::text("hello"), &mut to_server)?;
    client.encode(Outgoing::binary(&[1, 2, 3]), &mut to_server)?;
    receive("server", &mut server, &mut to_server, &mut to_client)?;
    receive("client", &mut client, &mut to_client, &mut to_server)?;
    client.close(CloseCode::NORMAL, "done", NOW, &mut to_server);
    receive("server", &mut server, &mut to_server, &mut to_client)?;
    receive("client", &mut client, &mut to_client, &mut to_server)?;
    assert_eq!((server.ready_state(), client.ready_state()), (ReadyState::Closed, ReadyState::Closed));
    println!("closed");
    Ok(())
}

/// The server's side of the opening handshake: the head in `input` is taken, the response goes to `out`.
fn accept(input: &mut Vec<u8>, limits: &Limits, out: &mut Vec<u8>) -> Result<(), Failure> {
    let end = HeadScanner::default().find_end(input, limits).map_err(|error| error.to_string())?;
    let end = end.ok_or("the request is incomplete")?;
    with_request(&input[..end], limits, |head| {
        let head = head.map_err(|error| error.to_string())?;
        let upgrade = check_upgrade(&head).map_err(|error| error.to_string())?;
        write_accept(upgrade.key, None, &[], out);
        Ok::<(), String>(())
    })?;
    input.drain(..end);
    Ok(())
}

/// Takes all events in `input`. The server answers each message with the same message.
fn receive(who: &str, end: &mut Connection, input: &mut Vec<u8>, out: &mut Vec<u8>) -> Result<(), Failure> {
    end.heard(NOW);
    let mut octets = std::mem::take(input);
    let mut input = Input::new(&mut octets);
    while let Some(event) = end.next_event(&mut input, out).map_err(|error| error.to_string())? {
        match event {
            Event::Message(message) => {
                println!("{who} got {:?} {:?}", message.kind, message.payload);
                if who == "server" {
                    // Events borrow the input and not the connection, so the answer needs no copy.
                    end.encode(message.as_outgoing(), out)?;
                }
            }
            Event::Close(_) => println!("{who} got a Close"),
            _ => {}
        }
    }
    Ok(())
}
