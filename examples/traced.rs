//! Traces of an application, by OpenTelemetry: `cargo run --example traced [ADDR:PORT]`. A layer has a span for each connection and
//! each message. The spans are printed here; an exporter of OTLP takes the place of `Print`. There is no tokio: the spans are
//! exported on a thread of their own.

use std::collections::HashMap;
use std::future::Future;

use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};
use switchboard::app::{Application, Closed, ConnId, Context, Layer, Message, Request, Verdict};
use switchboard::apps::Echo;
use switchboard::net::{Options, Server};
use tracing::{Span, field, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// A layer with spans around an application. What it keeps ends with the connection.
struct Traced<A> {
    app: A,
    spans: HashMap<ConnId, Span>,
}

impl<A: Application> Layer for Traced<A> {
    type Inner = A;
    type Mail = A::Mail;

    fn inner(&mut self) -> &mut A {
        &mut self.app
    }

    fn on_mail<C: Context>(&mut self, ctx: &mut C, mail: A::Mail) {
        self.app.on_mail(ctx, mail);
    }

    fn on_request<C: Context>(&mut self, ctx: &mut C, request: &Request<'_>) -> Verdict {
        let verdict = self.app.on_request(ctx, request);
        if matches!(verdict, Verdict::Accept(_)) {
            let span = info_span!("connection", path = request.head.path(), reason = field::Empty);
            // A trace of the caller goes on here (W3C Trace Context). Where callers are not trusted this is left out.
            let caller = request.head.fields.first("traceparent").and_then(|id| std::str::from_utf8(id).ok());
            if let Some(caller) = caller {
                let caller = HashMap::from([("traceparent".to_owned(), caller.to_owned())]);
                // Fails where nobody listens to the span.
                let _ = span.set_parent(TraceContextPropagator::new().extract(&caller));
            }
            self.spans.insert(request.conn, span);
        }
        verdict
    }

    fn on_message<C: Context>(&mut self, ctx: &mut C, conn: ConnId, message: Message<'_>) {
        let connection = self.spans.get(&conn).and_then(Span::id);
        let span = info_span!(parent: connection, "message", bytes = message.payload.len());
        span.in_scope(|| self.app.on_message(ctx, conn, message));
    }

    fn on_close<C: Context>(&mut self, ctx: &mut C, conn: ConnId, closed: &Closed) {
        if let Some(span) = self.spans.remove(&conn) {
            span.record("reason", field::debug(&closed.reason));
        }
        self.app.on_close(ctx, conn, closed);
    }
}

/// Spans for people, a line each.
#[derive(Debug)]
struct Print;

impl SpanExporter for Print {
    fn export(&self, batch: Vec<SpanData>) -> impl Future<Output = OTelSdkResult> + Send {
        for span in batch {
            let took = span.end_time.duration_since(span.start_time).unwrap_or_default();
            println!(
                "span {} trace={} {:?} {took:?}",
                span.name,
                span.span_context.trace_id(),
                span.attributes
            );
        }
        std::future::ready(Ok(()))
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let provider = SdkTracerProvider::builder().with_batch_exporter(Print).build();
    let spans = tracing_opentelemetry::layer().with_tracer(provider.tracer("traced")).with_location(false);
    tracing_subscriber::registry().with(spans).init();

    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9001".to_owned());
    let options = Options::listen(address.parse()?).with(|it| it.stop_on_signals = true);
    let server = Server::bind(options, Traced { app: Echo, spans: HashMap::new() })?;
    println!("traced echo on ws://{}", server.local_addrs()?[0]);
    server.run()?;
    // What the thread has not exported yet.
    provider.shutdown()?;
    Ok(())
}
