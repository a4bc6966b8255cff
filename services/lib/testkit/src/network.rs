//! Machines of a test's own, which may stop hearing each other: network namespaces at one bridge.
//!
//! The bridge has a namespace too, where no firewall of this machine meddles. This machine is
//! attached to it as `.1`. Needs root, `ip` and `iptables`; what is missing is said, never skipped.

use std::net::Ipv4Addr;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};

use crate::home;

/// For networks under test (RFC 2544): 198.18.0.0/15 leads nowhere.
const RANGE: [u8; 2] = [198, 18];

/// The last number of the first machine's address.
const FIRST: u8 = 11;

/// One machine.
#[derive(Debug, Clone)]
pub(crate) struct Machine {
    namespace: String,
    pub(crate) address: Ipv4Addr,
}

impl Machine {
    /// A command that runs on it.
    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", &self.namespace])
            .arg(program);
        command
    }

    fn run(&self, line: &str) -> Result<String> {
        let mut words = line.split(' ');
        home::run(self.command(words.next().unwrap_or_default()).args(words))
    }
}

/// The network; it ends with the value, and everything that runs on its machines.
#[derive(Debug)]
pub(crate) struct Network {
    hub: String,
    machines: Vec<Machine>,
}

impl Network {
    /// Makes so many machines. Blocks.
    pub(crate) fn start(count: u8) -> Result<Self> {
        ensure!(
            geteuid().is_root(),
            "a network of its own can only be made by root: run this test as root"
        );
        for (program, package) in [("ip", "iproute2"), ("iptables", "iptables")] {
            let found = Command::new(program).arg("-V").output();
            found.with_context(|| {
                format!("`{program}` is missing, which cuts the network: install {package}")
            })?;
        }
        sweep()?;
        let (process, number) = (std::process::id(), home::unique());
        let number = number.rsplit('_').next().unwrap_or_default();
        let name = format!("tg{process}x{number}");
        let net = free_net()?;
        let address = |last: u8| Ipv4Addr::new(RANGE[0], RANGE[1], net, last);
        let machines = (0..count).map(|index| Machine {
            namespace: format!("{name}m{index}"),
            address: address(FIRST + index),
        });
        // From here on its end takes away what was made so far.
        let network = Self {
            hub: format!("{name}h"),
            machines: machines.collect(),
        };
        network
            .make(&name, address(1))
            .context("a network of namespaces cannot be made here")?;
        Ok(network)
    }

    fn make(&self, name: &str, own: Ipv4Addr) -> Result<()> {
        let hub = &self.hub;
        ip(&format!("netns add {hub}"))?;
        ip(&format!("-n {hub} link add bridge type bridge"))?;
        ip(&format!("-n {hub} link set bridge up"))?;
        let ours = format!("{name}r");
        ip(&format!(
            "link add {ours} type veth peer name out netns {hub}"
        ))?;
        ip(&format!("-n {hub} link set out master bridge up"))?;
        ip(&format!("addr add {own}/24 dev {ours}"))?;
        ip(&format!("link set {ours} up"))?;
        for (index, machine) in self.machines.iter().enumerate() {
            let (namespace, address) = (&machine.namespace, machine.address);
            ip(&format!("netns add {namespace}"))?;
            ip(&format!("-n {namespace} link set lo up"))?;
            ip(&format!(
                "-n {namespace} link add port type veth peer name p{index} netns {hub}"
            ))?;
            ip(&format!("-n {namespace} addr add {address}/24 dev port"))?;
            ip(&format!("-n {namespace} link set port up"))?;
            ip(&format!("-n {hub} link set p{index} master bridge up"))?;
        }
        Ok(())
    }

    pub(crate) fn machines(&self) -> &[Machine] {
        &self.machines
    }

    /// From now on `listener` hears nothing from `speaker`.
    pub(crate) fn deafen(&self, listener: usize, speaker: usize) -> Result<()> {
        let from = self.machines[speaker].address;
        self.machines[listener].run(&format!("iptables -w -A INPUT -s {from} -j DROP"))?;
        Ok(())
    }

    /// Everybody hears everybody again.
    pub(crate) fn heal(&self) -> Result<()> {
        for machine in &self.machines {
            machine.run("iptables -w -F INPUT")?;
        }
        Ok(())
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for machine in &self.machines {
            remove(&machine.namespace);
        }
        // The ends of its cables, ours too, go with it.
        remove(&self.hub);
    }
}

fn ip(line: &str) -> Result<String> {
    home::run(Command::new("ip").args(line.split(' ')))
}

/// A third number that no address of this machine has.
fn free_net() -> Result<u8> {
    let taken = ip("-4 -o addr show")?;
    let start = std::process::id() as u8;
    for step in 0..=u8::MAX {
        let net = start.wrapping_add(step);
        if !taken.contains(&format!(" {}.{}.{net}.", RANGE[0], RANGE[1])) {
            return Ok(net);
        }
    }
    bail!("every network of 198.18.0.0/16 is taken")
}

/// Ends what runs in a namespace of ours, and the namespace.
fn remove(namespace: &str) {
    let pids = ip(&format!("netns pids {namespace}")).unwrap_or_default();
    let pids: Vec<i32> = pids.lines().filter_map(|line| line.parse().ok()).collect();
    for pid in &pids {
        let _gone = kill(Pid::from_raw(*pid), Signal::SIGKILL);
    }
    let _still_there = home::wait_until("a namespace to empty", Duration::from_secs(5), || {
        Ok(!pids.iter().any(|pid| home::is_alive(*pid)))
    });
    let _never_made = ip(&format!("netns del {namespace}"));
}

/// Takes away what killed tests left.
fn sweep() -> Result<()> {
    for line in ip("netns list")?.lines() {
        let name = line.split(' ').next().unwrap_or_default();
        if owner(name).is_some_and(|pid| !home::is_alive(pid)) {
            remove(name);
        }
    }
    Ok(())
}

/// The process in the name of one of our namespaces.
fn owner(namespace: &str) -> Option<i32> {
    let (pid, rest) = namespace.strip_prefix("tg")?.split_once('x')?;
    let kind = rest.trim_start_matches(|letter: char| letter.is_ascii_digit());
    (kind == "h" || kind.starts_with('m')).then(|| pid.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_tells_whose_it_is_and_others_are_left_alone() {
        assert_eq!(owner("tg4711x0h"), Some(4711));
        assert_eq!(owner("tg4711x12m2"), Some(4711));
        for other in ["tgx0h", "tg4711", "cni-4711x0h", "tg4711x0z", "blue"] {
            assert_eq!(owner(other), None, "{other}");
        }
    }
}
