//! fastwebsockets on hyper, as in its own examples.

use std::future::ready;

use bytes::Bytes;
use fastwebsockets::upgrade::{UpgradeFut, upgrade};
use fastwebsockets::{FragmentCollector, FragmentCollectorRead, Frame, OpCode, Payload, WebSocketError};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::hub::Hub;
use super::{MAX_MESSAGE, Mode, Serve};

/// Whether it is text, and its payload.
type Published = (bool, Bytes);

#[derive(Clone)]
pub(super) struct Server {
    mode: Mode,
    hub: Hub<Published>,
}

impl Server {
    pub(super) fn new(mode: Mode) -> Self {
        Self { mode, hub: Hub::new() }
    }

    fn answer(self, mut request: Request<Incoming>) -> Result<Response<Empty<Bytes>>, WebSocketError> {
        let (response, upgraded) = upgrade(&mut request)?;
        tokio::spawn(async move {
            // A connection that fails ends; the others go on.
            let _ = match self.mode {
                Mode::Echo => tokio::task::unconstrained(echo(upgraded)).await,
                Mode::Fanout => tokio::task::unconstrained(fanout(upgraded, self.hub)).await,
            };
        });
        Ok(response)
    }
}

impl Serve for Server {
    async fn serve(self, stream: TcpStream) {
        let service = service_fn(move |request| ready(self.clone().answer(request)));
        let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades().await;
    }
}

async fn echo(upgraded: UpgradeFut) -> Result<(), WebSocketError> {
    let mut socket = upgraded.await?;
    socket.set_max_message_size(MAX_MESSAGE);
    let mut socket = FragmentCollector::new(socket);
    loop {
        let frame = socket.read_frame().await?;
        match frame.opcode {
            OpCode::Close => return Ok(()),
            OpCode::Text | OpCode::Binary => socket.write_frame(frame).await?,
            _ => {}
        }
    }
}

async fn fanout(upgraded: UpgradeFut, hub: Hub<Published>) -> Result<(), WebSocketError> {
    let (reader, mut writer) = upgraded.await?.split(tokio::io::split);
    let mut reader = FragmentCollectorRead::new(reader);
    let (seat, mut news) = hub.join();
    let writing = tokio::spawn(tokio::task::unconstrained(async move {
        while let Some((is_text, payload)) = news.recv().await {
            let payload = Payload::Borrowed(&payload);
            let frame = if is_text { Frame::text(payload) } else { Frame::binary(payload) };
            if writer.write_frame(frame).await.is_err() {
                return;
            }
        }
    }));
    loop {
        // Nobody pings here, so the reader owes no frame.
        let mut owed = |_| async { Ok::<(), WebSocketError>(()) };
        let frame = match reader.read_frame(&mut owed).await {
            Ok(frame) => frame,
            Err(error) => {
                writing.abort();
                return Err(error);
            }
        };
        if matches!(frame.opcode, OpCode::Text | OpCode::Binary) {
            seat.publish(&(frame.opcode == OpCode::Text, Bytes::copy_from_slice(&frame.payload)));
        }
    }
}
