//! Errors of sockets in a sentence that says what to do.

use std::io;

use rustix::io::Errno;
use switchboard::proto::ResponseError;

/// What went wrong when a connection was dialled.
pub(super) fn explain_connect(error: &io::Error) -> String {
    explain("connect", error, connect_advice)
}

/// What went wrong on a connection that had been established.
pub(super) fn explain_lost(error: &io::Error) -> String {
    explain("connection lost", error, lost_advice)
}

/// What was wrong with the answer to the opening handshake.
pub(super) fn explain_answer(error: ResponseError) -> String {
    let advice = if let ResponseError::Status(status) = error { status_advice(status) } else { None };
    match advice {
        Some(advice) => format!("opening handshake: {error}: {advice}"),
        None => format!("opening handshake: {error}"),
    }
}

fn explain(what: &str, error: &io::Error, advice: fn(Errno) -> Option<&'static str>) -> String {
    let kind = error.kind();
    match error.raw_os_error().and_then(|code| advice(Errno::from_raw_os_error(code))) {
        Some(advice) => format!("{what}: {kind}: {advice}"),
        None => format!("{what}: {kind}"),
    }
}

fn connect_advice(code: Errno) -> Option<&'static str> {
    Some(match code {
        Errno::CONNREFUSED => "no server listens there; start it, or check the port",
        Errno::TIMEDOUT => "no answer; check the address and the firewall, and lower --connect-burst",
        Errno::HOSTUNREACH | Errno::NETUNREACH => "there is no route to the server; check the address",
        Errno::ADDRNOTAVAIL => "no local port is free; add addresses with --source-ip, or wait for TIME-WAIT",
        Errno::ADDRINUSE => "the local port is in use; add addresses with --source-ip",
        Errno::MFILE | Errno::NFILE => "no descriptor is free; raise the limit (ulimit -n, fs.file-max)",
        Errno::NOBUFS | Errno::NOMEM => "the kernel has no memory for sockets; use fewer --connections",
        Errno::AGAIN => "the listen backlog of the server is full; lower --connect-burst",
        Errno::CONNRESET => {
            "the server closed it before the opening handshake; its listen backlog may be full"
        }
        Errno::NOENT => "there is no such socket; start the server, or check the path",
        Errno::ACCESS | Errno::PERM => "permission denied; check the rights of the socket, and the firewall",
        _ => return None,
    })
}

fn lost_advice(code: Errno) -> Option<&'static str> {
    Some(match code {
        Errno::CONNRESET => "the server ended it without a Close; see the log of the server",
        Errno::PIPE => "the server ended it while messages were sent; see the log of the server",
        Errno::TIMEDOUT => "the server did not acknowledge what was sent; check the network",
        _ => return None,
    })
}

fn status_advice(status: u16) -> Option<&'static str> {
    Some(match status {
        200..=299 | 404 | 405 => "no WebSocket is served there; check the path of the URL",
        300..=399 => "it is served elsewhere; use the URL to which the server redirects",
        401 | 403 | 407 => "the server may want a token in the URL, a --header, or an --origin",
        421 => "the server has another name; use that in the URL",
        429 | 503 => "the server takes no more connections now; lower --connect-burst, and see its log",
        502 | 504 => "a proxy answers, and does not reach the server behind it",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_what_to_do() {
        let error = |code: Errno| io::Error::from_raw_os_error(code.raw_os_error());
        let refused = explain_connect(&error(Errno::CONNREFUSED));
        assert!(
            refused.starts_with("connect: connection refused: ") && refused.contains("check the port"),
            "{refused}"
        );
        let reset = explain_lost(&error(Errno::CONNRESET));
        assert!(reset.starts_with("connection lost: connection reset: "), "{reset}");
        assert_eq!(explain_lost(&error(Errno::ISDIR)), "connection lost: is a directory");
        assert_eq!(explain_lost(&io::ErrorKind::WriteZero.into()), "connection lost: write zero");
        let status = |status| explain_answer(ResponseError::Status(status));
        assert!(status(404).contains("status 404 instead of 101: ") && status(404).contains("the path"));
        assert_eq!(status(418), "opening handshake: status 418 instead of 101");
    }
}
