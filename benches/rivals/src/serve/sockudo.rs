//! sockudo-ws, with the handshake of its own examples.

use bytes::BytesMut;
use sockudo_ws::handshake::{build_response, generate_accept_key, parse_request};
use sockudo_ws::{Config, Error, Message, WebSocketStream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::hub::Hub;
use super::streams::{Data, echo, fanout};
use super::{MAX_MESSAGE, Mode, Serve};

#[derive(Clone)]
pub(super) struct Server {
    mode: Mode,
    hub: Hub<Message>,
}

impl Server {
    pub(super) fn new(mode: Mode) -> Self {
        Self { mode, hub: Hub::new() }
    }
}

impl Serve for Server {
    async fn serve(self, mut stream: TcpStream) {
        if shake_hands(&mut stream).await.is_err() {
            return;
        }
        let config = Config::builder().max_message_size(MAX_MESSAGE).max_frame_size(MAX_MESSAGE);
        let socket = WebSocketStream::server(stream, config.idle_timeout(0).auto_ping(false).build());
        // A connection that fails ends; the others go on.
        let _ = match self.mode {
            Mode::Echo => echo(socket).await,
            Mode::Fanout => fanout(socket, self.hub).await,
        };
    }
}

async fn shake_hands(stream: &mut TcpStream) -> Result<(), Error> {
    let mut head = BytesMut::with_capacity(1024);
    loop {
        if stream.read_buf(&mut head).await? == 0 {
            return Err(Error::ConnectionClosed);
        }
        if let Some((request, _)) = parse_request(&head)? {
            let response = build_response(&generate_accept_key(request.key), None, None);
            stream.write_all(&response).await?;
            return Ok(());
        }
    }
}

impl Data for Message {
    fn is_data(&self) -> bool {
        matches!(self, Self::Text(_) | Self::Binary(_))
    }

    fn is_close(&self) -> bool {
        matches!(self, Self::Close(_))
    }
}
