//! A server of a run: its URL, and the addresses behind it. Pure: what a name resolves to is an argument.

use std::net::{IpAddr, SocketAddr};

use super::error::PlanError;
use super::options::ConnectArgs;
use super::target::{Endpoint, Target};

/// A server of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Destination {
    pub(crate) target: Target,
    /// At least one; connections to the server take them in turn.
    pub(crate) endpoints: Vec<Endpoint>,
}

impl Destination {
    /// `addresses`: what the host of the target resolves to.
    ///
    /// # Errors
    /// There is no address that the options allow.
    pub(crate) fn check(
        target: Target,
        addresses: &[SocketAddr],
        connect: &ConnectArgs,
    ) -> Result<Self, PlanError> {
        let endpoints = choose_endpoints(&target, addresses, &connect.sources(), connect.all_addresses)?;
        let is_foreign = |endpoint: &&Endpoint| match endpoint {
            Endpoint::Tcp(address) => !address.ip().to_canonical().is_loopback(),
            Endpoint::Unix(_) => false,
        };
        if let Some(Endpoint::Tcp(address)) = endpoints.iter().find(is_foreign)
            && !connect.i_own_this_server
        {
            return Err(PlanError(format!(
                "{} is not this machine, and a flood harms a server: add --i-own-this-server if it is yours",
                address.ip()
            )));
        }
        Ok(Self { target, endpoints })
    }
}

fn choose_endpoints(
    target: &Target,
    addresses: &[SocketAddr],
    sources: &[IpAddr],
    all: bool,
) -> Result<Vec<Endpoint>, PlanError> {
    if let Some(socket) = &target.socket {
        if !sources.is_empty() || all {
            return Err(PlanError(
                "a Unix domain socket has neither --source-ip nor --all-addresses".to_owned(),
            ));
        }
        return Ok(vec![Endpoint::Unix(socket.clone())]);
    }
    let fits = |address: &&SocketAddr| sources.iter().all(|source| source.is_ipv4() == address.is_ipv4());
    let count = if all { usize::MAX } else { 1 };
    let endpoints: Vec<Endpoint> =
        addresses.iter().filter(fits).take(count).map(|address| Endpoint::Tcp(*address)).collect();
    match (endpoints.is_empty(), addresses.is_empty()) {
        (false, _) => Ok(endpoints),
        (true, false) => Err(PlanError(format!(
            "--source-ip must be addresses of the family (IPv4 or IPv6) that {} has",
            target.host
        ))),
        (true, true) => Err(PlanError(format!("{} has no address", target.host))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_go_to_the_first_address_or_to_all_of_the_right_family() {
        let target = |url| Target::parse(url).unwrap();
        let addresses: Vec<SocketAddr> =
            ["127.0.0.1:5", "[::1]:5", "127.0.0.2:5"].map(|address| address.parse().unwrap()).to_vec();
        let choose = |sources: &[&str], all| {
            let sources: Vec<IpAddr> = sources.iter().map(|source| source.parse().unwrap()).collect();
            choose_endpoints(&target("ws://h/"), &addresses, &sources, all)
        };
        let tcp = |at: &[usize]| Ok(at.iter().map(|at| Endpoint::Tcp(addresses[*at])).collect());
        assert_eq!(choose(&[], false), tcp(&[0]));
        assert_eq!(choose(&[], true), tcp(&[0, 1, 2]));
        assert_eq!(choose(&["::1"], false), tcp(&[1]));
        assert_eq!(choose(&["127.0.0.1"], true), tcp(&[0, 2]));
        assert!(choose(&["::1", "127.0.0.1"], true).is_err());
        assert!(choose_endpoints(&target("ws://h/"), &[], &[], true).is_err());
        let unix = choose_endpoints(&target("ws+unix:/a"), &[], &[], false);
        assert_eq!(unix, Ok(vec![Endpoint::Unix("/a".into())]));
        assert!(choose_endpoints(&target("ws+unix:/a"), &[], &[], true).is_err());
    }
}
