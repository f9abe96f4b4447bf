//! Profiles: the openings, messages and answers of protocols that many servers speak.

use clap::ValueEnum;

/// A protocol above WebSocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Profile {
    /// Phoenix Channels 2 (URL /socket/websocket?vsn=2.0.0): joins a topic and pushes; --set topic=room:lobby event=ping
    Phoenix,
    /// Socket.IO 4 (URL /socket.io/?EIO=4&transport=websocket): emits with acknowledgement; --set event=message
    Socketio,
    /// Pusher Channels 7 (URL /app/KEY): subscribes and pings; --set channel=bench
    Pusher,
    /// Centrifugo's JSON protocol (URL /connection/websocket): subscribes and publishes; --set channel=bench
    Centrifugo,
    /// GraphQL over WebSocket (graphql-transport-ws): one query for each message; --set query='{ __typename }'
    GraphqlWs,
    /// MQTT 3.1.1: publishes with quality of service 1; --set topic=bench
    Mqtt,
    /// STOMP 1.1 and 1.2: sends with receipts; --set destination=/topic/bench host=/ login=guest passcode=guest
    Stomp,
}

/// The parts of a profile; the command line may replace each of them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parts {
    pub(super) subprotocols: &'static [&'static str],
    pub(super) variables: &'static [(&'static str, &'static str)],
    pub(super) on_open: &'static str,
    pub(super) payload: &'static str,
    pub(super) expect: &'static [&'static str],
    pub(super) reply: &'static [&'static str],
    pub(super) fail_on: Option<&'static str>,
    /// Each line of what the server sends is a message.
    pub(super) lines: bool,
}

impl Profile {
    #[expect(clippy::too_many_lines, reason = "a table")]
    pub(super) fn parts(self) -> Parts {
        match self {
            Self::Phoenix => Parts {
                subprotocols: &[],
                variables: &[("topic", "room:lobby"), ("event", "ping")],
                on_open: "[\"1\",\"1\",\"{{topic}}\",\"phx_join\",{}]\n\
                          < ^\\[\"1\",\"1\",.*\"phx_reply\",.*\"status\":\"ok\"",
                payload: r#"["1","m{{seq}}","{{topic}}","{{event}}",{"conn":{{conn}},"seq":{{seq}},"text":"{{random:20}}"}]"#,
                expect: &["$[1]=m{{seq}}", "$[3]=phx_reply"],
                reply: &[],
                fail_on: Some(r#""phx_error"|"phx_close"|"status":"error""#),
                lines: false,
            },
            Self::Socketio => Parts {
                subprotocols: &[],
                variables: &[("event", "message")],
                on_open: "< ^0\\{\n40\n< ^40",
                payload: r#"42{{seq}}["{{event}}",{"conn":{{conn}},"seq":{{seq}},"text":"{{random:20}}"}]"#,
                expect: &[r"^43(?<seq>\d+)\["],
                reply: &["^2$=>3"],
                fail_on: Some("^(?:1|41|44)"),
                lines: false,
            },
            Self::Pusher => Parts {
                subprotocols: &[],
                variables: &[("channel", "bench")],
                on_open: "< \"pusher:connection_established\"\n\
                          {\"event\":\"pusher:subscribe\",\"data\":{\"channel\":\"{{channel}}\"}}\n\
                          < subscription_succeeded",
                payload: r#"{"event":"pusher:ping","data":{}}"#,
                expect: &["$.event=pusher:pong"],
                reply: &[r#""event":"pusher:ping"=>{"event":"pusher:pong","data":{}}"#],
                fail_on: Some(r#""event":"pusher:error""#),
                lines: false,
            },
            Self::Centrifugo => Parts {
                subprotocols: &[],
                variables: &[("channel", "bench")],
                on_open: "{\"id\":1,\"connect\":{}}\n< \"id\":1,\"connect\"\n\
                          {\"id\":2,\"subscribe\":{\"channel\":\"{{channel}}\"}}\n< \"id\":2,\"subscribe\"",
                payload: r#"{"id":{{seq+3}},"publish":{"channel":"{{channel}}","data":{"conn":{{conn}},"text":"{{random:20}}"}}}"#,
                expect: &["$.id={{seq+3}}"],
                reply: &[r"^\{\}\s*$=>{}"],
                fail_on: Some(r#""error":\{|"disconnect":\{"#),
                lines: true,
            },
            Self::GraphqlWs => Parts {
                subprotocols: &["graphql-transport-ws"],
                variables: &[("query", "{ __typename }")],
                on_open: "{\"type\":\"connection_init\"}\n< \"connection_ack\"",
                payload: r#"{"id":"{{seq}}","type":"subscribe","payload":{"query":"{{query}}"}}"#,
                expect: &["$.type=next", "$.id={{seq}}"],
                reply: &[r#""type":"ping"=>{"type":"pong"}"#],
                fail_on: Some(r#""type":"error"|"errors":"#),
                lines: false,
            },
            // Its packets are binary: see mqtt.rs.
            Self::Mqtt => Parts {
                subprotocols: &["mqtt"],
                variables: &[("topic", "bench")],
                on_open: "",
                payload: r#"{"conn":{{conn}},"seq":{{seq}},"text":"{{random:20}}"}"#,
                expect: &[],
                reply: &[],
                fail_on: None,
                lines: false,
            },
            Self::Stomp => Parts {
                subprotocols: &["v12.stomp", "v11.stomp"],
                variables: &[
                    ("destination", "/topic/bench"),
                    ("host", "/"),
                    ("login", "guest"),
                    ("passcode", "guest"),
                ],
                on_open: "CONNECT{{lf}}accept-version:1.1,1.2{{lf}}host:{{host}}{{lf}}login:{{login}}{{lf}}\
                          passcode:{{passcode}}{{lf}}heart-beat:0,0{{lf}}{{lf}}{{nul}}\n\
                          < ^CONNECTED",
                payload: "SEND{{lf}}destination:{{destination}}{{lf}}receipt:{{seq}}{{lf}}content-type:text/plain{{lf}}{{lf}}\
                          {{conn}} {{seq}} {{random:20}}{{nul}}",
                expect: &[r"^RECEIPT\nreceipt-id:(?<seq>\d+)"],
                reply: &[],
                fail_on: Some("^ERROR"),
                lines: false,
            },
        }
    }
}
