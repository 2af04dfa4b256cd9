//! What an entry of the journal says of a boot.

use serde_json::Value;

/// Fields of an entry that are read (systemd.journal-fields(7)).
pub const FIELDS: &[&str] = &[
    "MESSAGE",
    "MESSAGE_ID",
    "UNIT",
    "SYSLOG_IDENTIFIER",
    "_TRANSPORT",
    "_SOURCE_MONOTONIC_TIMESTAMP",
    "KERNEL_USEC",
    "INITRD_USEC",
    "USERSPACE_USEC",
];

/// A unit begins to start (sd-messages.h: `SD_MESSAGE_UNIT_STARTING`).
const STARTING: &str = "7d4958e842da4a758f6c1cdc7b36dcc5";
/// It has started (`SD_MESSAGE_UNIT_STARTED`).
const STARTED: &str = "39f53479d3a045ac8e11786248231fbf";
/// It has not (`SD_MESSAGE_UNIT_FAILED`).
const FAILED: &str = "be02cf6855d2428ba40df7e9d022f03d";
/// The boot is complete (`SD_MESSAGE_STARTUP_FINISHED`).
const FINISHED: &str = "b07a249cd024414a82dd00cd181378ff";

/// The kernel's words when it starts the initramfs.
const INITRAMFS: &str = "Run /init as init process";
/// Our initramfs's last words.
const ROOT_READY: &str = " is the root after ";
/// systemd's words for the same as above, before there is a journal that takes more than words.
const WORDS: [(&str, Step); 6] = [
    ("Starting ", Step::Starting),
    ("Mounting ", Step::Starting),
    ("Started ", Step::Started),
    ("Finished ", Step::Started),
    ("Mounted ", Step::Started),
    ("Failed to start ", Step::Failed),
];
/// What names of units that start something end with.
const KINDS: [&str; 4] = [".service", ".mount", ".socket", ".swap"];

/// What becomes of a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// It begins to start.
    Starting,
    /// It has started.
    Started,
    /// It has not.
    Failed,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// The kernel started the initramfs.
    Initramfs,
    /// The initramfs was done.
    RootReady,
    /// Something became of a unit.
    Unit(String, Step),
    /// The boot was complete, so many microseconds after user space began, which was so many after the kernel did.
    Finished {
        /// When user space began.
        began: u64,
        /// How long it took.
        took: u64,
    },
}

/// Something that happened, in microseconds since the kernel's start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// When.
    pub at: u64,
    /// What.
    pub what: What,
}

impl Entry {
    /// Reads an entry as `journalctl --output=json` writes it; absent where it says nothing of a boot.
    pub fn parse(line: &str) -> Option<Self> {
        let entry: Value = serde_json::from_str(line).ok()?;
        // A field that is no text is a list of numbers, one that is too long is null: neither is one of these.
        let text = |key: &str| entry[key].as_str();
        let number = |key: &str| text(key)?.parse::<u64>().ok();
        // By the clock of who wrote it, where it says so; what the kernel says early is received late.
        let at = number("_SOURCE_MONOTONIC_TIMESTAMP").or_else(|| number("__MONOTONIC_TIMESTAMP"))?;
        let what = match (text("MESSAGE_ID"), text("_TRANSPORT")) {
            (Some(FINISHED), _) => {
                let began = number("KERNEL_USEC")?.checked_add(number("INITRD_USEC").unwrap_or(0))?;
                What::Finished { began, took: number("USERSPACE_USEC")? }
            }
            (Some(id), _) => {
                let step = match id {
                    STARTING => Step::Starting,
                    STARTED => Step::Started,
                    FAILED => Step::Failed,
                    _ => return None,
                };
                What::Unit(text("UNIT").filter(|name| starts(name))?.to_owned(), step)
            }
            (None, Some("kernel")) => match (text("SYSLOG_IDENTIFIER"), text("MESSAGE")?) {
                (Some("systemd"), message) => spoken(message)?,
                (_, message) if message.starts_with(INITRAMFS) => What::Initramfs,
                (_, message) if message.contains(ROOT_READY) => What::RootReady,
                _ => return None,
            },
            _ => return None,
        };
        Some(Self { at, what })
    }
}

/// True where a unit of the name starts something; targets and slices are there at once.
fn starts(name: &str) -> bool {
    KINDS.iter().any(|kind| name.ends_with(kind))
}

/// `Starting a.service - What it is...`
fn spoken(message: &str) -> Option<What> {
    let (rest, step) = WORDS.iter().find_map(|(words, step)| Some((message.strip_prefix(words)?, *step)))?;
    let name = rest.split_once(" - ").map_or_else(|| rest.trim_end_matches('.'), |(name, _)| name);
    (starts(name) && !name.contains(' ')).then(|| What::Unit(name.to_owned(), step))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_journalctl_writes() {
        let unit = |name: &str, step| What::Unit(name.to_owned(), step);
        for (fields, expected) in [
            (
                r#""MESSAGE_ID":"7d4958e842da4a758f6c1cdc7b36dcc5","UNIT":"a.service""#,
                Some(unit("a.service", Step::Starting)),
            ),
            (
                r#""MESSAGE_ID":"39f53479d3a045ac8e11786248231fbf","UNIT":"a.mount""#,
                Some(unit("a.mount", Step::Started)),
            ),
            (
                r#""MESSAGE_ID":"be02cf6855d2428ba40df7e9d022f03d","UNIT":"a.service""#,
                Some(unit("a.service", Step::Failed)),
            ),
            (r#""MESSAGE_ID":"39f53479d3a045ac8e11786248231fbf","UNIT":"basic.target""#, None),
            (r#""MESSAGE_ID":"39f53479d3a045ac8e11786248231fbf""#, None),
            (r#""MESSAGE_ID":"ae8f7b866b0347b9af31fe1c80b127c0","UNIT":"a.service""#, None),
            (
                r#""MESSAGE_ID":"b07a249cd024414a82dd00cd181378ff","KERNEL_USEC":"5","INITRD_USEC":"2","USERSPACE_USEC":"9""#,
                Some(What::Finished { began: 7, took: 9 }),
            ),
            (
                r#""MESSAGE_ID":"b07a249cd024414a82dd00cd181378ff","KERNEL_USEC":"18446744073709551615","INITRD_USEC":"2""#,
                None,
            ),
            (
                r#""_TRANSPORT":"kernel","SYSLOG_IDENTIFIER":"systemd","MESSAGE":"Mounting tmp.mount - Temporary Directory /tmp...""#,
                Some(unit("tmp.mount", Step::Starting)),
            ),
            (
                r#""_TRANSPORT":"kernel","SYSLOG_IDENTIFIER":"systemd","MESSAGE":"Started a.service.""#,
                Some(unit("a.service", Step::Started)),
            ),
            (r#""_TRANSPORT":"kernel","SYSLOG_IDENTIFIER":"systemd","MESSAGE":"Starting something else...""#, None),
            // Somebody else's words.
            (r#""_TRANSPORT":"kernel","SYSLOG_IDENTIFIER":"kernel","MESSAGE":"Starting a.service - A...""#, None),
            (r#""_TRANSPORT":"stdout","SYSLOG_IDENTIFIER":"systemd","MESSAGE":"Starting a.service - A...""#, None),
            (r#""_TRANSPORT":"kernel","MESSAGE":"Run /init as init process""#, Some(What::Initramfs)),
            (r#""_TRANSPORT":"kernel","MESSAGE":"rocketos: abc is the root after 0.6 s""#, Some(What::RootReady)),
            (r#""_TRANSPORT":"kernel","MESSAGE":[82,117,110]"#, None),
            (r#""_TRANSPORT":"kernel","MESSAGE":null"#, None),
        ] {
            let line = format!(r#"{{"__MONOTONIC_TIMESTAMP":"12",{fields}}}"#);
            assert_eq!(Entry::parse(&line).map(|entry| entry.what), expected, "{line}");
        }
        for line in ["", "{", "[]", r#"{"MESSAGE":"Run /init as init process","_TRANSPORT":"kernel"}"#] {
            assert_eq!(Entry::parse(line), None, "{line}");
        }
    }

    #[test]
    fn takes_the_writers_clock() {
        let rest = r#""_TRANSPORT":"kernel","MESSAGE":"Run /init as init process"}"#;
        let at = |times: &str| Entry::parse(&format!("{{{times},{rest}")).unwrap().at;
        assert_eq!(at(r#""__MONOTONIC_TIMESTAMP":"900""#), 900);
        assert_eq!(at(r#""__MONOTONIC_TIMESTAMP":"900","_SOURCE_MONOTONIC_TIMESTAMP":"30""#), 30);
    }
}
