//! The node itself: updates, health, what it tells, and raw files.

use std::{collections::BTreeMap, net::SocketAddr};

use super::{
    group, item, limits,
    value::{
        AbsolutePath, ChannelName, HttpUrl, Lock, Name, Ranged, RawText, ReleasePlace, Server, TimeOfDay, TimeSpan,
        UnitName, Word, Zone,
    },
    word,
};

group! {
    /// Which releases the node takes, and when.
    pub struct Updates {
        /// The channel it follows; with `from`. Where both are absent: what it was installed or switched to; to name one is to switch.
        pub channel: Option<ChannelName>,
        /// Where the channel's metadata lies: `docker://…`, `https://…`, `http://…` or `dir:/…`; with `channel`.
        pub from: Option<ReleasePlace>,
        /// What comes of a new release. Where absent: `apply` on a channel, else `check`.
        pub mode: Option<UpdateMode>,
        /// When the node may reboot by itself; at any time where absent.
        #[schemars(extend("maxItems" = limits::WINDOWS))]
        pub windows: Option<Vec<Window>>,
        /// Take a release when it is published, not when its curve reaches this node. False where absent.
        pub ignore_waves: Option<bool>,
        /// The node's place in a curve, instead of the one it has by its identity. 0 to 2047; 2048 places are all.
        pub seed: Option<Ranged<0, 2047>>,
        /// The only version that is taken, and none after it; `latest` is any.
        pub version_lock: Option<Lock>,
    }
}

word! {
    /// What comes of a new release.
    pub enum UpdateMode {
        /// Nothing.
        Off,
        /// It is told in the journal.
        Check,
        /// It is brought.
        Download,
        /// It is brought, boots next, and the node reboots within a window.
        Apply,
    }
}

item! {
    /// When the node may reboot by itself.
    pub struct Window {
        /// Days on which it opens; every day where absent.
        #[schemars(extend("maxItems" = limits::DAYS))]
        pub days: Option<Vec<Weekday>>,
        /// When it opens, `hh:mm`.
        pub start: TimeOfDay,
        /// How long it is open. 90min to 7days.
        pub length: TimeSpan,
        /// The time zone of its clock, such as `Europe/Berlin`. `UTC` where absent.
        pub zone: Option<Zone>,
    }
}

/// A day of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Deserialize, schemars::JsonSchema)]
pub enum Weekday {
    /// Monday.
    Mon,
    /// Tuesday.
    Tue,
    /// Wednesday.
    Wed,
    /// Thursday.
    Thu,
    /// Friday.
    Fri,
    /// Saturday.
    Sat,
    /// Sunday.
    Sun,
}

group! {
    /// What a release has to do before it counts as good.
    pub struct Health {
        /// How long a release is on trial once its boot is complete. 7days at most; `10min` where absent.
        pub soak: Option<TimeSpan>,
        /// Between two looks in that time. `20s` where absent.
        pub interval: Option<TimeSpan>,
        /// Until when the boot has to be complete. `15min` where absent.
        pub deadline: Option<TimeSpan>,
        /// Checks by a name, besides the image's.
        #[schemars(extend("maxProperties" = limits::CHECKS))]
        pub checks: BTreeMap<Name, HealthCheck>,
    }
}

group! {
    /// A health check. Which keys it has depends on `kind`.
    pub struct HealthCheck {
        /// How much it matters.
        pub level: Option<CheckLevel>,
        /// What is looked at.
        pub kind: Option<CheckKind>,
        /// `unit`: the unit.
        pub unit: Option<UnitName>,
        /// `unit`: the state it is in, systemd's `ActiveState`. `active` where absent.
        pub state: Option<Name>,
        /// `http`: what is fetched.
        pub url: Option<HttpUrl>,
        /// `http`: the status it has. 100 to 599; 200 where absent.
        pub status: Option<Ranged<100, 599>>,
        /// `http`: what is in the body.
        pub body: Option<Word>,
        /// `tcp`: address and port.
        pub address: Option<SocketAddr>,
        /// `mount`: where a file system is mounted.
        pub path: Option<AbsolutePath>,
        /// `resolve`: a name that has an address.
        pub name: Option<Server>,
        /// Checks that pass before it is made.
        #[schemars(extend("maxItems" = limits::CHECKS))]
        pub after: Option<Vec<Name>>,
        /// What one attempt may take. 1h at most; `30s` where absent.
        pub timeout: Option<TimeSpan>,
        /// Attempts after the first. 0 to 1000.
        pub retries: Option<Ranged<0, 1000>>,
        /// Between two attempts. 1h at most; `5s` where absent.
        pub interval: Option<TimeSpan>,
        /// Before the first attempt. 1h at most.
        pub delay: Option<TimeSpan>,
    }
}

word! {
    /// How much a check matters.
    pub enum CheckLevel {
        /// A release that fails it is bad.
        Required,
        /// It is reported.
        Wanted,
    }
}

word! {
    /// What a check looks at.
    pub enum CheckKind {
        /// A unit is in a state.
        Unit,
        /// A web server answers.
        Http,
        /// Somebody listens.
        Tcp,
        /// A file system is mounted and can be written.
        Mount,
        /// There is a default route.
        DefaultRoute,
        /// A name has an address.
        Resolve,
        /// The clock was synchronised since boot.
        TimeSynchronised,
    }
}

group! {
    /// What the node tells of itself.
    pub struct Metrics {
        /// It tells, in Bottlerocket's words: that its boot is complete, and every six hours whether units run. False where absent.
        pub send_metrics: Option<bool>,
        /// Whom it tells: `https://…`.
        pub metrics_url: Option<HttpUrl>,
        /// Units whose state it tells.
        #[schemars(extend("maxItems" = limits::UNITS))]
        pub service_checks: Option<Vec<UnitName>>,
    }
}

group! {
    /// A file as it is.
    pub struct RawFile {
        /// What it says. At most 64 KiB; lines of printable characters.
        pub content: Option<RawText>,
    }
}
