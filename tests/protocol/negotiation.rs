//! permessage-deflate in the opening handshake (RFC 7692 5 and 7.1): offers and what they are answered.

use switchboard::proto::client::{ClientHandshake, ClientRequest};
use switchboard::proto::extension::Extensions;
use switchboard::proto::handshake::accept_key;
use switchboard::proto::{DeflateAgreement, DeflateConfig, Limits, ResponseError};

/// The server's answer to the value of the field.
fn answer(config: &DeflateConfig, offers: &str) -> Option<String> {
    config.agree(Extensions::new(offers.as_bytes()).flatten()).map(|(_, field)| field)
}

fn frugal() -> DeflateConfig {
    DeflateConfig::default().with(|it| {
        it.server_no_context_takeover = true;
        it.client_no_context_takeover = true;
        it.server_max_window_bits = 11;
        it.client_max_window_bits = 10;
    })
}

#[test]
fn cp_04_offers_and_their_answers() {
    let any = DeflateConfig::default();
    let rows: &[(&str, Option<&str>)] = &[
        ("permessage-deflate", Some("permessage-deflate")),
        ("permessage-deflate; client_max_window_bits", Some("permessage-deflate")),
        (
            "permessage-deflate; server_no_context_takeover",
            Some("permessage-deflate; server_no_context_takeover"),
        ),
        (
            "permessage-deflate; client_no_context_takeover",
            Some("permessage-deflate; client_no_context_takeover"),
        ),
        (
            "permessage-deflate; server_max_window_bits=10",
            Some("permessage-deflate; server_max_window_bits=10"),
        ),
        (
            "permessage-deflate; server_max_window_bits=\"10\"",
            Some("permessage-deflate; server_max_window_bits=10"),
        ),
        (
            "permessage-deflate; server_max_window_bits=15",
            Some("permessage-deflate; server_max_window_bits=15"),
        ),
        (
            "permessage-deflate; client_max_window_bits=9",
            Some("permessage-deflate; client_max_window_bits=9"),
        ),
        // zlib inflates any window; it only cannot deflate into 256 bytes.
        (
            "permessage-deflate; client_max_window_bits=8",
            Some("permessage-deflate; client_max_window_bits=8"),
        ),
        ("permessage-deflate; server_max_window_bits=8", None),
        // The next offer is tried.
        ("permessage-deflate; server_max_window_bits=8, permessage-deflate", Some("permessage-deflate")),
        ("permessage-deflate; nonsense, permessage-deflate", Some("permessage-deflate")),
        ("x-webkit-deflate-frame, permessage-deflate", Some("permessage-deflate")),
        (
            "permessage-deflate; server_max_window_bits=9; client_max_window_bits=8, permessage-deflate",
            Some("permessage-deflate; server_max_window_bits=9; client_max_window_bits=8"),
        ),
        ("permessage-deflate; server_max_window_bits", None),
        ("permessage-deflate; server_max_window_bits=7", None),
        ("permessage-deflate; server_max_window_bits=16", None),
        ("permessage-deflate; server_max_window_bits=010", None),
        ("permessage-deflate; server_max_window_bits=1", None),
        ("permessage-deflate; server_max_window_bits=100", None),
        ("permessage-deflate; server_max_window_bits=-9", None),
        ("permessage-deflate; server_max_window_bits=+9", None),
        ("permessage-deflate; server_max_window_bits=9.0", None),
        ("permessage-deflate; server_max_window_bits=abc", None),
        ("permessage-deflate; client_max_window_bits=0", None),
        ("permessage-deflate; client_max_window_bits=99999999999999999999", None),
        ("permessage-deflate; server_no_context_takeover=1", None),
        ("permessage-deflate; client_no_context_takeover=true", None),
        ("permessage-deflate; server_max_window_bits=10; server_max_window_bits=10", None),
        ("permessage-deflate; client_max_window_bits; client_max_window_bits=10", None),
        ("permessage-deflate; server_no_context_takeover; server_no_context_takeover", None),
        ("permessage-deflate; Server_no_context_takeover", None),
        ("Permessage-Deflate", None),
        ("permessage-bzip2, foo; bar=1", None),
        ("", None),
    ];
    for (offers, expected) in rows {
        assert_eq!(answer(&any, offers).as_deref(), *expected, "{offers}");
    }
}

#[test]
fn the_server_asks_for_what_it_wants_as_far_as_it_may() {
    let frugal = frugal();
    let both = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
    for (offers, parameters, client_bits) in [
        // RFC 7692 7.1.2.2: without the parameter in the offer it MUST NOT stand in the answer.
        ("permessage-deflate", "; server_max_window_bits=11", 15),
        (
            "permessage-deflate; client_max_window_bits",
            "; server_max_window_bits=11; client_max_window_bits=10",
            10,
        ),
        (
            "permessage-deflate; client_max_window_bits=9; server_max_window_bits=15",
            "; server_max_window_bits=11; client_max_window_bits=9",
            9,
        ),
        ("permessage-deflate; server_max_window_bits=9", "; server_max_window_bits=9", 15),
    ] {
        let (agreement, field) = frugal.agree(Extensions::new(offers.as_bytes()).flatten()).unwrap();
        assert_eq!(field, format!("{both}{parameters}"), "{offers}");
        assert!(agreement.server_no_context_takeover && agreement.client_no_context_takeover);
        assert_eq!(agreement.client_max_window_bits, client_bits, "{offers}");
    }
}

#[test]
fn window_bits_of_a_configuration_are_moved_to_what_zlib_can() {
    let config = DeflateConfig::default().with(|it| {
        it.server_max_window_bits = 3;
        it.client_max_window_bits = 77;
    });
    let field = answer(&config, "permessage-deflate; client_max_window_bits");
    assert_eq!(field.as_deref(), Some("permessage-deflate; server_max_window_bits=9"));
}

/// What a client that offers `config` makes of an answer; `extensions` are whole lines.
fn check(
    config: Option<&DeflateConfig>,
    extensions: &str,
) -> Result<Option<DeflateAgreement>, ResponseError> {
    let request = ClientRequest { host: "h", target: "/", deflate: config, ..ClientRequest::default() };
    let mut sent = Vec::new();
    let mut handshake = ClientHandshake::start(&request, [7; 16], &mut sent);
    let sent = String::from_utf8(sent).unwrap();
    let key = sent.split("Sec-WebSocket-Key: ").nth(1).unwrap().split("\r\n").next().unwrap();
    let accept = String::from_utf8(accept_key(key.as_bytes()).to_vec()).unwrap();
    let response = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n{extensions}\r\n"
    );
    let agreement = handshake.receive(response.as_bytes(), &request, &Limits::default())?.unwrap();
    assert_eq!(agreement.head_len, response.len());
    Ok(agreement.deflate)
}

fn field(value: &str) -> String {
    format!("Sec-WebSocket-Extensions: {value}\r\n")
}

#[test]
fn a_client_takes_only_answers_to_its_offer() {
    let (any, frugal) = (DeflateConfig::default(), frugal());
    assert_eq!(check(None, ""), Ok(None));
    assert_eq!(check(Some(&any), ""), Ok(None));
    for good in [
        "permessage-deflate",
        "permessage-deflate; client_max_window_bits=15",
        "permessage-deflate; client_max_window_bits=8",
        "permessage-deflate; server_max_window_bits=8",
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover; client_max_window_bits=9",
    ] {
        assert!(check(Some(&any), &field(good)).unwrap().is_some(), "{good}");
        assert_eq!(check(None, &field(good)), Err(ResponseError::Extension), "{good}");
    }
    for bad in [
        "permessage-deflate; client_max_window_bits",
        "permessage-deflate; client_max_window_bits=16",
        "permessage-deflate; client_max_window_bits=9; client_max_window_bits=9",
        "permessage-deflate; server_max_window_bits",
        "permessage-deflate; server_no_context_takeover=1",
        "permessage-deflate; unknown",
        "permessage-deflate, permessage-deflate",
        "permessage-deflate, foo",
        "foo",
        "permessage-deflate;",
        "permessage-deflate; server_max_window_bits=",
    ] {
        assert_eq!(check(Some(&any), &field(bad)), Err(ResponseError::Extension), "{bad}");
    }
    let twice = field("permessage-deflate").repeat(2);
    assert_eq!(check(Some(&any), &twice), Err(ResponseError::Extension));
    // RFC 7692 7.1.1.1, 7.1.2.1: what was asked of the server must be in its answer; 7.1.2.2: not more than offered.
    let asked = "permessage-deflate; server_no_context_takeover; server_max_window_bits";
    for (value, is_good) in [
        (format!("{asked}=11"), true),
        (format!("{asked}=9; client_max_window_bits=10"), true),
        (format!("{asked}=12"), false),
        (format!("{asked}=11; client_max_window_bits=11"), false),
        ("permessage-deflate; server_no_context_takeover".to_owned(), false),
        ("permessage-deflate; server_max_window_bits=11".to_owned(), false),
    ] {
        let checked = check(Some(&frugal), &field(&value));
        assert_eq!(checked.is_ok(), is_good, "{value}: {checked:?}");
        if let Ok(agreement) = checked {
            let agreement = agreement.unwrap();
            assert!(agreement.client_no_context_takeover, "it keeps to its own hint");
            assert_eq!(agreement.client_max_window_bits, 10);
        }
    }
}

#[test]
fn both_ends_agree_on_the_same_parameters() {
    let mut configs = vec![DeflateConfig::default(), frugal()];
    for bits in 9..=15 {
        for flags in 0..4 {
            configs.push(DeflateConfig::default().with(|it| {
                it.server_no_context_takeover = flags & 1 != 0;
                it.client_no_context_takeover = flags & 2 != 0;
                it.server_max_window_bits = bits;
                it.client_max_window_bits = 24 - bits;
            }));
        }
    }
    for client in &configs {
        for server in &configs {
            let request = ClientRequest { deflate: Some(client), ..ClientRequest::default() };
            let mut sent = Vec::new();
            ClientHandshake::start(&request, [0; 16], &mut sent);
            let sent = String::from_utf8(sent).unwrap();
            let offer =
                sent.split("Sec-WebSocket-Extensions: ").nth(1).unwrap().split("\r\n").next().unwrap();
            let (agreement, answer) = server.agree(Extensions::new(offer.as_bytes()).flatten()).unwrap();
            assert_eq!(check(Some(client), &field(&answer)), Ok(Some(agreement)), "{offer} -> {answer}");
        }
    }
}
