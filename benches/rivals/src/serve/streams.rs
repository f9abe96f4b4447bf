//! Echo and fan-out over anything that is a stream and a sink of messages. What is there is written at once, with one
//! flush at the end: the best that these interfaces allow.

use futures_util::{FutureExt, Sink, SinkExt, Stream, StreamExt};

use super::hub::Hub;

/// A message of a rival's library.
pub(super) trait Data: Clone + Send + 'static {
    /// Text or binary, and no control frame.
    fn is_data(&self) -> bool;
    fn is_close(&self) -> bool;
}

pub(super) async fn echo<M, E, S>(mut socket: S) -> Result<(), E>
where
    M: Data,
    S: Stream<Item = Result<M, E>> + Sink<M, Error = E> + Unpin,
{
    while let Some(message) = socket.next().await {
        let mut message = Some(message?);
        while let Some(ready) = message.take() {
            if ready.is_close() {
                return socket.close().await;
            }
            if ready.is_data() {
                socket.feed(ready).await?;
            }
            message = socket.next().now_or_never().flatten().transpose()?;
        }
        socket.flush().await?;
    }
    Ok(())
}

pub(super) async fn fanout<M, E, S>(mut socket: S, hub: Hub<M>) -> Result<(), E>
where
    M: Data,
    S: Stream<Item = Result<M, E>> + Sink<M, Error = E> + Unpin,
{
    let (seat, mut news) = hub.join();
    loop {
        tokio::select! {
            message = socket.next() => match message.transpose()? {
                Some(message) if message.is_data() => seat.publish(&message),
                Some(message) if !message.is_close() => {}
                _ => return Ok(()),
            },
            Some(message) = news.recv() => {
                socket.feed(message).await?;
                while let Ok(message) = news.try_recv() {
                    socket.feed(message).await?;
                }
                socket.flush().await?;
            }
        }
    }
}
