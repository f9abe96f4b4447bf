//! A server of Centrifugo's protocol, on the crate tokio-centrifuge. Prints its URL, and ends with its standard input.

use std::error::Error;

use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::sync::broadcast;
use tokio_centrifuge::server::{ConnectContext, ServeParams, Server};

/// The channel of the profile.
const CHANNEL: &str = "bench";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let (publications, _) = broadcast::channel::<Vec<u8>>(1024);
    let mut server = Server::new();
    server.on_connect(async |_: ConnectContext| Ok(()));
    let published = publications.clone();
    server.add_channel(CHANNEL, move |_| {
        let mut publications = published.subscribe();
        async move {
            Ok(async_stream::stream! {
                loop {
                    match publications.recv().await {
                        Ok(data) => yield data,
                        Err(broadcast::error::RecvError::Lagged(_)) => {}
                        Err(broadcast::error::RecvError::Closed) => break,
                    }
                }
            })
        }
    })?;
    server.on_publication(CHANNEL, move |_, data| {
        let publications = publications.clone();
        async move {
            // There is a subscriber: the profile subscribes before it publishes.
            let _ = publications.send(data);
            Ok(())
        }
    })?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("ws://{}/connection/websocket", listener.local_addr()?);
    let accept = async {
        loop {
            let (stream, _) = listener.accept().await?;
            let server = server.clone();
            tokio::spawn(async move {
                if let Ok(stream) = tokio_tungstenite::accept_async(stream).await {
                    server.serve(stream, ServeParams::json()).await;
                }
            });
        }
    };
    let mut rest = Vec::new();
    let mut stdin = tokio::io::stdin();
    tokio::select! {
        accepted = accept => accepted,
        ended = stdin.read_to_end(&mut rest) => ended.map(drop).map_err(Into::into),
    }
}
