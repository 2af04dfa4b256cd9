//! User data on the ESP, where whoever writes disks puts it. The ESP is not trusted: it configures, as all user data, and adds no code.

use rocketos_model::layout;

use super::{DOCUMENT_BYTES, Provider, When, nothing_promised};

/// It is what stands there now.
pub const PROVIDER: Provider = Provider {
    order: 20,
    name: "esp",
    when: When::EveryBoot,
    look: |machine, _| Ok(machine.on_esp(layout::esp::USER_DATA, DOCUMENT_BYTES)?.into()),
    promised: nothing_promised,
};
