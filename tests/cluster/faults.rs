//! What can happen to the members of a site, one thing at a time, and how it is made good again.

use std::fmt::{self, Display};

use super::member::Member;
use super::site::{self, Site};
use crate::support::random::Random;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// SIGKILL; afterwards it is started on what it had.
    Kill,
    /// SIGSTOP.
    Pause,
    /// Its cable is pulled.
    Unplug,
}

/// Whom it happens to; counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    Nats(usize),
    Server(usize),
    /// Both of a number, as if they ran on one machine.
    Machine(usize),
}

/// A fault that has a target.
#[derive(Clone, Copy, Debug)]
pub struct Trouble {
    pub fault: Fault,
    pub target: Target,
}

impl Trouble {
    pub fn any(random: &mut Random) -> Trouble {
        let fault = random.pick(&[Fault::Kill, Fault::Pause, Fault::Unplug]);
        let number = random.within(0..site::SERVERS as u64) as usize;
        let target =
            random.pick(&[Target::Nats(number), Target::Server(number), Target::Machine(number)]);
        Trouble { fault, target }
    }

    pub fn strike(self, site: &mut Site) {
        for member in self.members(site) {
            match self.fault {
                Fault::Kill => member.kill(),
                Fault::Pause => member.pause(),
                Fault::Unplug => member.host.unplug(),
            }
        }
    }

    pub fn heal(self, site: &mut Site) {
        for member in self.members(site) {
            match self.fault {
                Fault::Kill => member.start(),
                Fault::Pause => member.resume(),
                Fault::Unplug => member.host.plug(),
            }
        }
    }

    fn members(self, site: &mut Site) -> Vec<&mut Member> {
        match self.target {
            Target::Nats(number) => vec![&mut site.nats[number]],
            Target::Server(number) => vec![&mut site.servers[number]],
            Target::Machine(number) => {
                vec![&mut site.nats[number], &mut site.servers[number]]
            }
        }
    }
}

impl Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let done = match self.fault {
            Fault::Kill => "killed",
            Fault::Pause => "paused",
            Fault::Unplug => "unplugged",
        };
        match self.target {
            Target::Nats(number) => write!(f, "nats-{} {done}", number + 1),
            Target::Server(number) => write!(f, "triggerly-{} {done}", number + 1),
            Target::Machine(number) => write!(f, "nats-{0} and triggerly-{0} {done}", number + 1),
        }
    }
}
