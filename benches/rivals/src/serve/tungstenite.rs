//! tokio-tungstenite.

use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_tungstenite::accept_async_with_config;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use super::hub::Hub;
use super::streams::{Data, echo, fanout};
use super::{MAX_MESSAGE, Mode, Serve};

#[derive(Clone)]
pub(super) struct Server {
    mode: Mode,
    hub: Hub<Message>,
    tls: Option<TlsAcceptor>,
}

impl Server {
    pub(super) fn new(mode: Mode, tls: Option<Arc<ServerConfig>>) -> Self {
        Self { mode, hub: Hub::new(), tls: tls.map(Into::into) }
    }

    async fn run(self, stream: impl AsyncRead + AsyncWrite + Unpin) {
        let config =
            WebSocketConfig::default().max_message_size(Some(MAX_MESSAGE)).max_frame_size(Some(MAX_MESSAGE));
        let Ok(socket) = accept_async_with_config(stream, Some(config)).await else { return };
        // A connection that fails ends; the others go on.
        let _ = match self.mode {
            Mode::Echo => echo(socket).await,
            Mode::Fanout => fanout(socket, self.hub).await,
        };
    }
}

impl Serve for Server {
    async fn serve(self, stream: TcpStream) {
        let Some(tls) = &self.tls else { return self.run(stream).await };
        if let Ok(stream) = tls.accept(stream).await {
            self.run(stream).await;
        }
    }
}

impl Data for Message {
    fn is_data(&self) -> bool {
        self.is_text() || self.is_binary()
    }

    fn is_close(&self) -> bool {
        self.is_close()
    }
}
