//! User data of the image: what its maker configures of nodes that boot it, as user data and not as `settings.d`.

use rocketos_model::layout;

use super::{DOCUMENT_BYTES, Provider, When, file, nothing_promised};

/// It is another with another image.
pub const PROVIDER: Provider = Provider {
    order: 10,
    name: "image",
    when: When::EveryBoot,
    look: |machine, _| Ok(file(&machine.root().join(layout::image::USER_DATA), DOCUMENT_BYTES)?.into()),
    promised: nothing_promised,
};
