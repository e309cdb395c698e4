//! [`Options`]: what is served, to whom, and how much of the host it may take.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::time::Duration;

/// What a server is started with.
#[derive(Clone, Debug)]
pub struct Options {
    /// The directory of the mount that is served, as a path from its root.
    pub export: Vec<u8>,
    /// Who may connect.
    pub allow: Vec<Network>,
    /// Whether clients may change anything. What the mount forbids is forbidden all the same.
    pub writes: Writes,
    /// Which users are taken for nobody.
    pub squash: Squash,
    /// Who nobody is.
    pub anonymous: Owner,
    /// From which ports clients may come.
    pub ports: Ports,
    /// When changes are durable.
    pub stability: Stability,
    /// Connections at once.
    pub connections_max: usize,
    /// Calls of one connection that are worked on at once: each has a thread with buffers.
    pub calls_max: usize,
    /// The most bytes of one READ or WRITE; a multiple of 4,096.
    pub transfer_bytes: usize,
    /// How long a record may take to come in or to go out, once it has begun.
    pub record_timeout: Duration,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            export: b"/".to_vec(),
            allow: Network::LOOPBACK.to_vec(),
            writes: Writes::Refused,
            squash: Squash::Root,
            anonymous: Owner { uid: 65_534, gid: 65_534 },
            ports: Ports::Privileged,
            stability: Stability::Sync,
            connections_max: 16,
            calls_max: 4,
            transfer_bytes: 64 << 10,
            record_timeout: Duration::from_secs(30),
        }
    }
}

/// Whether clients may change anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writes {
    /// They may not.
    Refused,
    /// They may.
    Served,
}

/// Which users of clients are taken for nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Squash {
    /// The superuser, and the superuser's group.
    Root,
    /// All.
    All,
    /// None: a client's superuser is superuser here.
    None,
}

/// A user and a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// From which ports clients may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ports {
    /// Those below 1,024, which only a superuser can use: else every user of a trusted machine could say to be any other.
    Privileged,
    /// Any.
    Any,
}

/// When a change of names or attributes is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stability {
    /// Before the client has its answer, as the protocol demands.
    Sync,
    /// Some seconds later: what a power cut takes, clients do not know of.
    Async,
}

/// Addresses with a prefix in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix_bits: u32,
}

impl Network {
    /// This machine.
    pub const LOOPBACK: [Network; 2] = [
        Network { address: IpAddr::V4(Ipv4Addr::new(127, 0, 0, 0)), prefix_bits: 8 },
        Network { address: IpAddr::V6(Ipv6Addr::LOCALHOST), prefix_bits: 128 },
    ];

    /// Whether an address is in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(mine), IpAddr::V4(it)) => {
                (mine.to_bits() ^ it.to_bits()).leading_zeros() >= self.prefix_bits
            }
            (IpAddr::V6(mine), IpAddr::V6(it)) => {
                (mine.to_bits() ^ it.to_bits()).leading_zeros() >= self.prefix_bits
            }
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = String;

    /// `10.0.0.0/8`, `fd00::/8`, or an address.
    fn from_str(text: &str) -> Result<Network, String> {
        let (address, bits) = text.split_once('/').map_or((text, None), |(a, b)| (a, Some(b)));
        let address: IpAddr = address.parse().map_err(|_| format!("{address}: not an address"))?;
        let all = if address.is_ipv4() { 32 } else { 128 };
        let prefix_bits = match bits {
            None => all,
            Some(bits) => {
                bits.parse().ok().filter(|n| *n <= all).ok_or_else(|| format!("/{bits}: not 0 to {all}"))?
            }
        };
        Ok(Network { address, prefix_bits })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks() {
        let contains = |network: &str, address: &str| {
            network.parse::<Network>().unwrap().contains(address.parse().unwrap())
        };
        assert!(contains("10.1.0.0/16", "10.1.255.3") && !contains("10.1.0.0/16", "10.2.0.1"));
        assert!(contains("10.1.2.3", "10.1.2.3") && !contains("10.1.2.3", "10.1.2.2"));
        assert!(contains("0.0.0.0/0", "8.8.8.8") && !contains("0.0.0.0/0", "::1"));
        assert!(contains("10.0.0.0/8", "::ffff:10.3.3.3"), "IPv4 that came over IPv6");
        assert!(contains("fd00::/8", "fd12::1") && !contains("fd00::/8", "fe80::1"));
        for wrong in ["10.0.0.0/33", "::/129", "host", "10.0.0.0/", "10.0.0.0/-1"] {
            assert!(wrong.parse::<Network>().is_err(), "{wrong}");
        }
    }
}
