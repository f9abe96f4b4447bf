//! Where to listen, as people write it.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;
use switchboard::net::Listen;
use switchboard::ops::Redirect;
use switchboard::proto::TrustedProxies;

/// One value of `--listen` and its like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    Tcp(SocketAddr),
    /// A port of all addresses.
    Any(u16),
    /// A name of this machine, which may have several addresses.
    Name(String, u16),
    Unix(PathBuf),
}

/// Text that names no place to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct InvalidPlace(&'static str);

impl fmt::Display for InvalidPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}; write an address and a port such as 127.0.0.1:8080 or [::1]:8080, a name such as localhost:8080, :8080 for all \
             addresses, or unix:/run/switchboard.sock",
            self.0
        )
    }
}

impl std::error::Error for InvalidPlace {}

impl FromStr for Place {
    type Err = InvalidPlace;

    fn from_str(text: &str) -> Result<Self, InvalidPlace> {
        let text = text.trim();
        if let Ok(address) = text.parse() {
            return Ok(Self::Tcp(address));
        }
        if let Some(path) = text.strip_prefix("unix:") {
            return match path {
                "" | "@" => Err(InvalidPlace("the path is missing")),
                path => Ok(Self::Unix(path.into())),
            };
        }
        if text.contains('/') {
            return Err(InvalidPlace("this is neither an address nor unix: with a path"));
        }
        let Some((host, port)) = text.rsplit_once(':') else {
            return Err(InvalidPlace(match text.parse::<u16>() {
                Ok(_) => {
                    "a port alone is not enough: is it for this machine alone (localhost:PORT) or for all (:PORT)?"
                }
                Err(_) => "the port is missing",
            }));
        };
        let is_number = !port.is_empty() && port.bytes().all(|octet| octet.is_ascii_digit());
        let port = port
            .parse()
            .ok()
            .filter(|_| is_number)
            .ok_or(InvalidPlace("the port is no number up to 65535"))?;
        match host {
            "" | "*" => Ok(Self::Any(port)),
            _ if host.contains([':', '[', ']']) => Err(InvalidPlace("an IPv6 address stands in brackets")),
            _ if host.bytes().all(|octet| octet.is_ascii_digit() || octet == b'.') => {
                Err(InvalidPlace("an IPv4 address has four numbers up to 255"))
            }
            _ => Ok(Self::Name(host.to_owned(), port)),
        }
    }
}

impl Place {
    /// The listeners of the place: one for each address of a name.
    ///
    /// # Errors
    /// A name that has no address of this machine.
    fn listeners(&self, unix_mode: u32) -> Result<Vec<Listen>, String> {
        Ok(match self {
            Self::Tcp(address) => vec![Listen::tcp(*address)],
            Self::Any(port) => vec![Listen::any(*port)],
            Self::Name(name, port) => Listen::named(name, *port).map_err(|error| error.to_string())?,
            Self::Unix(path) => vec![Listen::unix(path).mode(unix_mode)],
        })
    }
}

/// Listeners that every server may have.
#[derive(Debug, Args)]
#[command(next_help_heading = "Listening")]
pub(crate) struct ListenArgs {
    /// Where to listen for https:// and wss://
    ///
    /// As --listen. Needs --tls-cert and --tls-key. May be repeated, or a list with commas.
    #[arg(long, value_name = "ADDR:PORT", value_delimiter = ',', requires = "certificates")]
    tls_listen: Vec<Place>,
    /// Where to answer http:// with a redirect to the first --tls-listen
    ///
    /// May be repeated, or a list with commas.
    #[arg(long, value_name = "ADDR:PORT", value_delimiter = ',', requires = "certificates")]
    redirect_listen: Vec<Place>,
    /// Where proxies connect that send the PROXY protocol, version 1 or 2
    ///
    /// As --listen. Without --trusted-proxy every client is believed. May be repeated, or a list with commas.
    #[arg(long, value_name = "ADDR:PORT", value_delimiter = ',')]
    proxy_protocol: Vec<Place>,
    /// The same for proxies that pass TLS on
    ///
    /// The header comes first, then TLS. May be repeated, or a list with commas.
    #[arg(long, value_name = "ADDR:PORT", value_delimiter = ',', requires = "certificates")]
    tls_proxy_protocol: Vec<Place>,
    /// Address or network (CIDR) of proxies whose forwarded fields are believed
    ///
    /// The fields are X-Forwarded-For, X-Forwarded-Host, X-Forwarded-Proto and Forwarded. With this flag only these
    /// proxies may speak the PROXY protocol. Clients of unix: listeners are trusted without it. May be repeated, or a
    /// list with commas.
    #[arg(long, value_name = "CIDR", value_delimiter = ',', value_parser = checked_proxy)]
    trusted_proxy: Vec<String>,
    /// Octal mode of the files of unix: listeners: who may connect
    #[arg(long, value_name = "MODE", default_value = "0660", value_parser = octal)]
    unix_mode: u32,
    /// The only place of /metrics, /healthz and /readyz [default: every port]
    ///
    /// May be repeated, or a list with commas.
    #[arg(long, value_name = "ADDR:PORT", value_delimiter = ',')]
    internal_listen: Vec<Place>,
}

/// All listeners of a server.
#[derive(Debug, Default)]
pub(crate) struct Listeners {
    pub(crate) public: Vec<Listen>,
    /// Those that send everybody on to TLS.
    pub(crate) redirect: Vec<Listen>,
    pub(crate) internal: Vec<Listen>,
    /// Nothing said where to listen.
    pub(crate) is_default: bool,
}

impl ListenArgs {
    /// The listeners of the command line, and `inherited` ones, each with its name, which a service manager has opened. `default` is for
    /// a server that would have none.
    ///
    /// # Errors
    /// A name that has no address of this machine.
    pub(crate) fn listeners(
        &self,
        listen: &[Place],
        default: &Place,
        inherited: Vec<(String, Listen)>,
    ) -> Result<Listeners, String> {
        let mut listeners = Listeners::default();
        for (name, listen) in inherited {
            match name.as_str() {
                "internal" => listeners.internal.push(listen),
                "proxy-protocol" => listeners.public.push(listen.proxy_protocol()),
                "tls" => listeners.public.push(listen.tls()),
                "tls-proxy-protocol" => listeners.public.push(listen.tls().proxy_protocol()),
                "redirect" => listeners.redirect.push(listen),
                _ => listeners.public.push(listen),
            }
        }
        let resolve = |flag: &str, place: &Place| {
            place.listeners(self.unix_mode).map_err(|why| format!("--{flag}: {why}"))
        };
        for place in listen {
            listeners.public.extend(resolve("listen", place)?);
        }
        for place in &self.proxy_protocol {
            let found = resolve("proxy-protocol", place)?;
            listeners.public.extend(found.into_iter().map(Listen::proxy_protocol));
        }
        for place in &self.tls_listen {
            let found = resolve("tls-listen", place)?;
            listeners.public.extend(found.into_iter().map(Listen::tls));
        }
        for place in &self.tls_proxy_protocol {
            let found = resolve("tls-proxy-protocol", place)?;
            listeners.public.extend(found.into_iter().map(|listen| listen.tls().proxy_protocol()));
        }
        for place in &self.redirect_listen {
            listeners.redirect.extend(resolve("redirect-listen", place)?);
        }
        for place in &self.internal_listen {
            listeners.internal.extend(resolve("internal-listen", place)?);
        }
        if listeners.public.is_empty() {
            listeners.is_default = true;
            listeners.public = resolve("listen", default)?;
        }
        Ok(listeners)
    }

    pub(crate) fn trusted_proxies(&self) -> TrustedProxies {
        let mut trusted = TrustedProxies::default();
        for proxy in &self.trusted_proxy {
            // Each was checked when it was read.
            let _ = trusted.trust(proxy);
        }
        trusted
    }
}

impl Listeners {
    /// Where those who come without TLS are sent on to.
    ///
    /// # Errors
    /// There is nowhere to send them.
    pub(crate) fn redirect(&self) -> Result<Option<Redirect>, String> {
        if self.redirect.is_empty() {
            return Ok(None);
        }
        let port = self.public.iter().filter(|listen| listen.is_tls()).find_map(Listen::port);
        let port = port
            .filter(|port| *port != 0)
            .ok_or("--redirect-listen needs a --tls-listen whose port is not 0")?;
        let listeners = self.public.iter().map(|_| false).chain(self.redirect.iter().map(|_| true));
        Ok(Some(Redirect::new(listeners.collect(), port)))
    }
}

impl From<(Ipv4Addr, u16)> for Place {
    fn from(address: (Ipv4Addr, u16)) -> Self {
        Self::Tcp(address.into())
    }
}

fn checked_proxy(text: &str) -> Result<String, switchboard::proto::InvalidProxy> {
    TrustedProxies::default().trust(text)?;
    Ok(text.to_owned())
}

fn octal(text: &str) -> Result<u32, String> {
    u32::from_str_radix(text, 8)
        .ok()
        .filter(|mode| *mode <= 0o777)
        .ok_or_else(|| format!("{text:?} is no mode; write it in octal, such as 0660"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_as_people_write_it() {
        let tcp = |address: &str| Place::Tcp(address.parse().unwrap());
        for (text, place) in [
            ("127.0.0.1:8080", tcp("127.0.0.1:8080")),
            ("[::1]:0", tcp("[::1]:0")),
            (":8080", Place::Any(8080)),
            ("*:8080", Place::Any(8080)),
            ("localhost:8080", Place::Name("localhost".into(), 8080)),
            ("chat.example:80", Place::Name("chat.example".into(), 80)),
            ("unix:/run/a.sock", Place::Unix("/run/a.sock".into())),
            ("unix:a.sock", Place::Unix("a.sock".into())),
            ("unix:@name", Place::Unix("@name".into())),
        ] {
            assert_eq!(text.parse(), Ok(place), "{text}");
        }
        for (text, why) in [
            ("8080", "a port alone"),
            ("localhost", "the port is missing"),
            ("", "the port is missing"),
            ("localhost:", "no number"),
            ("localhost:http", "no number"),
            ("localhost:99999", "no number"),
            ("localhost:+80", "no number"),
            ("::1:8080", "in brackets"),
            ("[::1:8080", "in brackets"),
            ("127.0.0.256:80", "four numbers"),
            ("127.1:80", "four numbers"),
            ("http://localhost:8080", "neither an address"),
            ("/run/a.sock", "neither an address"),
            ("unix:", "the path is missing"),
        ] {
            let error = text.parse::<Place>().unwrap_err().to_string();
            assert!(error.contains(why) && error.contains("such as 127.0.0.1:8080"), "{text}: {error}");
        }
    }

    #[test]
    fn a_mode_is_octal() {
        assert_eq!((octal("0660"), octal("777"), octal("0")), (Ok(0o660), Ok(0o777), Ok(0)));
        for bad in ["", "999", "rw-rw----", "1777", "-1"] {
            assert!(octal(bad).is_err(), "{bad}");
        }
    }
}
